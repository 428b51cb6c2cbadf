// The end of a wait. Every await of the SDK on something outside has one, and by a clock that only goes forward, so that
// a player who sets their clock neither hangs nor times out.

using System;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Net
{
    internal readonly struct Deadline
    {
        private readonly IPlatform _platform;
        private readonly long _atMs;

        private Deadline(IPlatform platform, long atMs)
        {
            _platform = platform;
            _atMs = atMs;
        }

        internal static Deadline After(IPlatform platform, TimeSpan span)
        {
            var ms = Math.Max(0, Math.Min(span.TotalMilliseconds, int.MaxValue / 2));
            return new Deadline(platform, platform.NowMs + (long)ms);
        }

        internal int LeftMs => (int)Math.Max(0, Math.Min(_atMs - _platform.NowMs, int.MaxValue / 2));

        internal bool IsOver => LeftMs == 0;

        // The earlier of this and `span` from now.
        internal Deadline AtMost(TimeSpan span)
        {
            var other = After(_platform, span);
            return other._atMs < _atMs ? other : this;
        }

        // Runs `work` until it ends, the caller cancels, or the time is over, whatever `work` makes of its token: a
        // class library's DNS lookup or TLS handshake may not listen to it. `what` begins the timeout's message.
        internal async Task<T> Run<T>(string what, Func<CancellationToken, Task<T>> work, CancellationToken cancel)
        {
            cancel.ThrowIfCancellationRequested();
            if (IsOver) throw TimedOut(what);
            using (var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel))
            {
                var working = work(stop.Token);
                var first = await Task.WhenAny(working, _platform.Pause(LeftMs, stop.Token));
                if (first != working && !working.IsCompleted)
                {
                    stop.Cancel();
                    Forget(working);
                    cancel.ThrowIfCancellationRequested();
                    throw TimedOut(what);
                }
                stop.Cancel();
                try
                {
                    return await working;
                }
                catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
                {
                    throw TimedOut(what);
                }
            }
        }

        internal Task Run(string what, Func<CancellationToken, Task> work, CancellationToken cancel) =>
            Run(what, async stop =>
            {
                await work(stop);
                return true;
            }, cancel);

        // Pauses, but not beyond the deadline.
        internal Task Pause(int ms, CancellationToken cancel) => _platform.Pause(Math.Min(ms, LeftMs), cancel);

        internal static MusterException TimedOut(string what) => new MusterException(
            MusterCodes.Timeout,
            $"{what}: no answer in time. Check that the address is right and that no firewall drops the packets; a busy " +
            "machine may need a longer timeout.");

        // What is given up still ends some time; what it then has is let go, what it then says concerns nobody.
        internal static void Forget<T>(Task<T> task)
        {
            task.ContinueWith(
                ended =>
                {
                    if (ended.Status == TaskStatus.RanToCompletion) (ended.Result as IDisposable)?.Dispose();
                    else GC.KeepAlive(ended.Exception);
                },
                CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        }
    }
}
