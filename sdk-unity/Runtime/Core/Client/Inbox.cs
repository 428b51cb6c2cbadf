// Messages that have come and were not taken yet: a bounded queue with one who waits at each end.

using System.Collections.Generic;
using System.Threading.Tasks;

namespace Muster
{
    internal sealed class Inbox
    {
        internal const int MaxMessages = 1024;

        private readonly object _lock = new object();
        private readonly Queue<byte[]> _messages = new Queue<byte[]>();
        private TaskCompletionSource<bool> _came = New();
        private TaskCompletionSource<bool> _left = New();
        private MusterException _end;

        // Puts a message in; of a full one the oldest goes if `mayDrop`, else false and nothing happens.
        internal bool Add(byte[] message, bool mayDrop)
        {
            TaskCompletionSource<bool> came;
            lock (_lock)
            {
                if (_messages.Count >= MaxMessages)
                {
                    if (!mayDrop) return false;
                    _messages.Dequeue();
                }
                _messages.Enqueue(message);
                came = _came;
            }
            came.TrySetResult(true);
            return true;
        }

        // Nothing more comes.
        internal void End(MusterException why)
        {
            lock (_lock) _end = _end ?? why;
            _came.TrySetResult(true);
            _left.TrySetResult(true);
        }

        // The oldest message; false if there is none now. Throws why nothing more comes once all are taken.
        internal bool TryTake(out byte[] message)
        {
            TaskCompletionSource<bool> left;
            lock (_lock)
            {
                message = null;
                if (_messages.Count == 0)
                {
                    if (_end != null) throw _end;
                    if (_came.Task.IsCompleted) _came = New();
                    return false;
                }
                message = _messages.Dequeue();
                left = _left;
                _left = New();
            }
            left.TrySetResult(true);
            return true;
        }

        // Ends when something has come since TryTake last found nothing, or nothing more will.
        internal Task Came
        {
            get { lock (_lock) return _messages.Count > 0 || _end != null ? Task.FromResult(true) : _came.Task; }
        }

        // Ends when there is room.
        internal Task Room
        {
            get
            {
                lock (_lock)
                    return _messages.Count < MaxMessages || _end != null ? Task.FromResult(true) : _left.Task;
            }
        }

        // Whoever waits goes on by themselves, not within the call that lets them.
        private static TaskCompletionSource<bool> New() =>
            new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
