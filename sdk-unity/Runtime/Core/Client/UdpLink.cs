// UDP through an edge: the preface from the game's own socket, and what tells that the path is dead although UDP says
// nothing: the edge answers a preface on a flow that stands, so after a silence one is sent.

using System;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using Muster.Wire;

namespace Muster
{
    internal sealed class UdpLink : ILink
    {
        private const int MaxDatagramBytes = 65507;
        // From the first probe until the path counts as dead.
        private const int ProbeMs = 700;

        private readonly IPlatform _platform;
        private readonly Socket _socket;
        private readonly string _what;
        private readonly byte[] _preface;
        private readonly int _silenceMs;
        private readonly byte[] _buffer = new byte[MaxDatagramBytes];
        private readonly CancellationTokenSource _closed = new CancellationTokenSource();
        private long _heardMs;
        private volatile bool _hasSent;
        private volatile MusterException _dead;

        private UdpLink(IPlatform platform, Socket socket, string what, byte[] preface, int silenceMs)
        {
            _platform = platform;
            _socket = socket;
            _what = what;
            _preface = preface;
            _silenceMs = silenceMs;
            Heard();
        }

        public Transport Transport => Transport.Udp;

        internal static async Task<ILink> Open(
            IPlatform platform, Endpoint endpoint, ConnectOptions options, Deadline deadline, CancellationToken cancel)
        {
            var what = Links.Name(endpoint);
            var socket = await deadline.Run(what, stop => Dial.Udp(endpoint.Host, endpoint.Port, stop), cancel);
            var preface = endpoint.Token == null ? null : Preface.Encode(endpoint.Token);
            var silenceMs = (int)Math.Min(int.MaxValue / 2, options.SilenceTimeout.TotalMilliseconds);
            var link = new UdpLink(platform, socket, what, preface, silenceMs);
            try
            {
                if (preface != null)
                {
                    await Prove(platform, socket, what, preface, deadline, cancel);
                    link.Probe();
                }
                return link;
            }
            catch
            {
                link.Dispose();
                throw;
            }
        }

        // Sends `preface`, which may be a claim, until it is answered.
        internal static async Task Prove(
            IPlatform platform, Socket socket, string what, byte[] preface, Deadline deadline, CancellationToken cancel)
        {
            var buffer = new byte[64];
            MusterException last = null;
            Task<int> receiving = null;
            while (!deadline.IsOver)
            {
                cancel.ThrowIfCancellationRequested();
                last = await TrySend(socket, what, preface) ?? last;
                var again = deadline.Pause(Preface.AgainMs, cancel);
                while (!again.IsCompleted)
                {
                    receiving = receiving ?? Latencies.Receive(socket, buffer);
                    if (await Task.WhenAny(receiving, again) == again) break;
                    var ended = receiving;
                    receiving = null;
                    try
                    {
                        var said = Preface.Decode(buffer, await ended);
                        if (said == PrefaceAnswer.Accepted) return;
                        if (said == PrefaceAnswer.None) continue;
                        // The edge has no tunnel to the node yet, or again; that passes.
                        if (said != PrefaceAnswer.Unavailable) throw Preface.Refusal(said);
                        last = Preface.Refusal(said);
                    }
                    catch (SocketException error)
                    {
                        // Nobody there yet (ICMP) is no reason to give up: an edge may be just starting again.
                        last = Unreachable(what, error);
                        await again;
                    }
                }
            }
            if (receiving != null) Deadline.Forget(receiving);
            cancel.ThrowIfCancellationRequested();
            throw last ?? Deadline.TimedOut(what);
        }

        public async Task SendAsync(ArraySegment<byte> message, CancellationToken cancel)
        {
            if (message.Count > MaxDatagramBytes)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"A datagram has at most {MaxDatagramBytes} bytes, this one {message.Count}.");
            _hasSent = true;
            try
            {
                await _socket.SendAsync(message, SocketFlags.None);
            }
            catch (SocketException)
            {
                // A datagram that the system does not take is lost, as datagrams may be; the receiver notices more.
            }
            catch (ObjectDisposedException error)
            {
                throw _dead ?? NetFailures.Lost(_what, "the socket is gone", error);
            }
        }

        public async Task<byte[]> ReceiveAsync(CancellationToken cancel)
        {
            while (true)
            {
                int count;
                try
                {
                    count = await Latencies.Receive(_socket, _buffer);
                }
                catch (Exception error) when (error is SocketException || error is ObjectDisposedException)
                {
                    throw _dead ?? NetFailures.Lost(_what, error.Message, error);
                }
                Heard();
                var said = Preface.Decode(_buffer, count);
                if (said == PrefaceAnswer.Accepted) continue;
                if (said != PrefaceAnswer.None) throw Preface.Refusal(said);
                var message = new byte[count];
                Buffer.BlockCopy(_buffer, 0, message, 0, count);
                return message;
            }
        }

        public void Dispose()
        {
            _closed.Cancel();
            _socket.Dispose();
        }

        private void Heard()
        {
            Interlocked.Exchange(ref _heardMs, _platform.NowMs);
            _hasSent = false;
        }

        // Looks after the path until the link is closed.
        private async void Probe()
        {
            try
            {
                while (true)
                {
                    await _platform.Pause(Preface.AgainMs, _closed.Token);
                    var silentMs = _platform.NowMs - Interlocked.Read(ref _heardMs);
                    // Who says nothing need not be answered.
                    if (silentMs < _silenceMs || !_hasSent) continue;
                    if (silentMs >= _silenceMs + ProbeMs)
                    {
                        _dead = new MusterException(
                            MusterCodes.Timeout, $"{_what}: nothing was heard for {silentMs} ms, not even from the edge.");
                        _socket.Dispose();
                        return;
                    }
                    await TrySend(_socket, _what, _preface);
                }
            }
            catch (OperationCanceledException)
            {
            }
        }

        private static async Task<MusterException> TrySend(Socket socket, string what, byte[] bytes)
        {
            try
            {
                await Latencies.Send(socket, bytes);
                return null;
            }
            catch (SocketException error)
            {
                return Unreachable(what, error);
            }
            catch (ObjectDisposedException error)
            {
                return NetFailures.Lost(what, "the socket is gone", error);
            }
        }

        private static MusterException Unreachable(string what, SocketException error) => new MusterException(
            MusterCodes.Unreachable,
            $"{what}: nobody is there ({error.Message.TrimEnd('.')}). The edge may be down; the orchestrator knows others if there are.",
            error);
    }
}
