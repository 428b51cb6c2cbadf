// A player's connection to their server that outlives sockets, networks and edges: when the link is gone, the ticket is
// read anew and another is opened, to the same seat.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;

namespace Muster
{
    /// <summary>How to connect.</summary>
    public sealed class ConnectOptions
    {
        /// <summary>The server's port; <c>null</c>: the first that fits.</summary>
        public string PortName { get; set; }

        /// <summary>Transport. <see cref="Muster.Transport.Auto"/> falls back to WebSocket where UDP does not get through.</summary>
        public Transport Transport { get; set; } = Transport.Auto;

        /// <summary>Whether a lost connection is made anew by itself.</summary>
        public bool Rejoin { get; set; } = true;

        /// <summary>How long that is tried.</summary>
        public TimeSpan RejoinTimeout { get; set; } = TimeSpan.FromSeconds(30);

        /// <summary>
        /// UDP: how long the server may be silent to one who sends until the path is looked at. That costs a packet each
        /// way, and if nobody answers the path is given up 0.7 s later.
        /// </summary>
        public TimeSpan SilenceTimeout { get; set; } = TimeSpan.FromSeconds(0.5);

        /// <summary>
        /// TCP and WebSocket: how long a message may wait for a server that takes nothing more; then the connection counts as
        /// lost.
        /// </summary>
        public TimeSpan SendTimeout { get; set; } = TimeSpan.FromSeconds(10);

        /// <summary>WebSocket: largest message that is taken, in bytes.</summary>
        public int MaxMessageBytes { get; set; } = 1024 * 1024;

        /// <summary>WebSocket: whether messages are sent as text. They are then UTF-8.</summary>
        public bool SendsText { get; set; }
    }

    /// <summary>Where a session is.</summary>
    public enum SessionState
    {
        /// <summary>Messages come and go.</summary>
        Connected,
        /// <summary>The connection is gone; it is being made anew.</summary>
        Lost,
        /// <summary>Closed, or given up: <see cref="GameSession.Error"/> says why.</summary>
        Closed,
    }

    /// <summary>A connection to a game server, proven. Events are raised where the session was connected.</summary>
    public sealed class GameSession : IDisposable
    {
        private const int GoodbyeMs = 1000;
        // What reading the ticket anew may take of a rejoin: an orchestrator that is away is not waited for.
        private const int RefreshMs = 500;

        private readonly MatchTicket _ticket;
        private readonly ConnectOptions _options;
        private readonly Inbox _inbox = new Inbox();
        private readonly CancellationTokenSource _closed = new CancellationTokenSource();
        private readonly SemaphoreSlim _sending = new SemaphoreSlim(1, 1);
        private ILink _link;
        // Whether the edge is as good as it was: the link was ended by this side.
        private volatile bool _isEdgeGood;
        // Why this side has ended the link, if it has.
        private volatile MusterException _stuck;

        private GameSession(MatchTicket ticket, ConnectOptions options)
        {
            _ticket = ticket;
            _options = options;
        }

        /// <summary>The connection is gone, and why; it is being made anew.</summary>
        public event Action<MusterException> Lost;

        /// <summary>It stands again, in the same seat.</summary>
        public event Action Rejoined;

        /// <summary>It is given up, and why.</summary>
        public event Action<MusterException> Failed;

        /// <summary>State.</summary>
        public SessionState State { get; private set; }

        /// <summary>Why it is lost or closed; <c>null</c> while it stands, or if it was closed by this side.</summary>
        public MusterException Error { get; private set; }

        /// <summary>What it goes over.</summary>
        public Transport Transport => _link.Transport;

        /// <summary>The edge and port it goes to.</summary>
        public Endpoint Endpoint { get; private set; }

        /// <summary>The player's seat.</summary>
        public string SeatId => _ticket.Current.Assignment?.SeatId ?? string.Empty;

        internal static async Task<GameSession> Connect(
            MatchTicket ticket, ConnectOptions options, Deadline deadline, CancellationToken cancel)
        {
            var session = new GameSession(ticket, options);
            await session.Open(options.Transport, deadline, cancel);
            session.Pump();
            return session;
        }

        /// <summary>
        /// Sends a message. While the connection is being made anew messages are let go, as a network would; so they are
        /// on UDP at any time.
        /// </summary>
        /// <exception cref="MusterException">The session is closed, or the message too large.</exception>
        public async Task SendAsync(ArraySegment<byte> message, CancellationToken cancel = default(CancellationToken))
        {
            if (State == SessionState.Closed) throw End();
            if (State == SessionState.Lost) return;
            await _sending.WaitAsync(cancel);
            try
            {
                var sending = _link.SendAsync(message, cancel);
                // Most are taken at once, and want no timer.
                if (sending.IsCompleted) await sending;
                else await _ticket.Api.Within(_options.SendTimeout).Run("sending", stop => sending, cancel);
            }
            catch (MusterException error) when (error.Code != MusterCodes.InvalidArgument)
            {
                // The receiving side notices, too, and deals with it. A stream that takes nothing more ends by this.
                if (error.Code == MusterCodes.Timeout) _stuck = Stuck(error);
                _link.Dispose();
            }
            finally
            {
                _sending.Release();
            }
        }

        /// <summary>Sends a text as UTF-8.</summary>
        public Task SendAsync(string text, CancellationToken cancel = default(CancellationToken)) =>
            SendAsync(new ArraySegment<byte>(Encoding.UTF8.GetBytes(text)), cancel);

        /// <summary>The next message.</summary>
        /// <exception cref="MusterException"><c>timeout</c>, or why the session ended.</exception>
        public async Task<byte[]> ReceiveAsync(TimeSpan timeout, CancellationToken cancel = default(CancellationToken))
        {
            var deadline = _ticket.Api.Within(timeout);
            while (true)
            {
                byte[] message;
                if (_inbox.TryTake(out message)) return message;
                await deadline.Run("receiving", async stop =>
                {
                    await _inbox.Came;
                    return true;
                }, cancel);
            }
        }

        /// <summary>The next message, if one has come: for a game's loop.</summary>
        /// <exception cref="MusterException">Why the session ended, once all messages are taken.</exception>
        public bool TryReceive(out byte[] message) => _inbox.TryTake(out message);

        /// <summary>Closes it. The seat stays the player's: <see cref="MatchTicket.CancelAsync"/> gives it up.</summary>
        public async Task CloseAsync()
        {
            if (State == SessionState.Closed) return;
            if (_link is WebSocketLink socket)
            {
                var goodbye = socket.Goodbye();
                await Task.WhenAny(goodbye, _ticket.Api.Platform.Pause(GoodbyeMs, CancellationToken.None));
            }
            Dispose();
        }

        /// <summary>Closes it at once.</summary>
        public void Dispose()
        {
            if (State == SessionState.Closed) return;
            State = SessionState.Closed;
            _closed.Cancel();
            _inbox.End(End());
            _link.Dispose();
        }

        /// <summary>Makes the connection anew now, as after an app comes back from the background on another network.</summary>
        public void Reconnect()
        {
            _isEdgeGood = true;
            _link.Dispose();
        }

        private async Task Open(Transport transport, Deadline deadline, CancellationToken cancel)
        {
            var platform = _ticket.Api.Platform;
            _link = await Seats.Through(
                _ticket, assignment => OthersFirst(
                    Seats.Choose(assignment, _options.PortName, transport, platform.HasSockets)),
                async (endpoint, share) =>
                {
                    var link = await Links.Open(platform, endpoint, _options, share, cancel);
                    Endpoint = endpoint;
                    return link;
                }, deadline, cancel);
        }

        // Another edge is the better guess than the one whose link ended; which may yet be the only one, so it comes next.
        private List<Endpoint> OthersFirst(List<Endpoint> endpoints)
        {
            var before = Endpoint;
            if (before == null || _isEdgeGood) return endpoints;
            var same = endpoints.FindAll(endpoint => endpoint.Host == before.Host && endpoint.Port == before.Port);
            endpoints.RemoveAll(same.Contains);
            var others = endpoints.FindLastIndex(endpoint => endpoint.Transport == before.Transport);
            // Before those of transports that are liked less.
            endpoints.InsertRange(others + 1, same);
            return endpoints;
        }

        // Takes what comes for as long as the session lives.
        private async void Pump()
        {
            try
            {
                while (true)
                {
                    var why = await Take();
                    if (_closed.IsCancellationRequested) return;
                    State = SessionState.Lost;
                    Error = why;
                    if (!_options.Rejoin) throw why;
                    Lost?.Invoke(why);
                    await Rejoin();
                    if (_closed.IsCancellationRequested)
                    {
                        _link.Dispose();
                        return;
                    }
                    Error = null;
                    State = SessionState.Connected;
                    Rejoined?.Invoke();
                }
            }
            catch (OperationCanceledException)
            {
                // Closed while it was being made anew.
            }
            catch (MusterException error)
            {
                Fail(error);
            }
            catch (ObjectDisposedException error)
            {
                Fail(NetFailures.Lost("the session", "its client was closed", error));
            }
        }

        private void Fail(MusterException error)
        {
            if (_closed.IsCancellationRequested) return;
            Error = error;
            Dispose();
            Failed?.Invoke(error);
        }

        // Until the link is gone; why it is.
        private async Task<MusterException> Take()
        {
            var link = _link;
            _stuck = null;
            try
            {
                while (true)
                {
                    var message = await link.ReceiveAsync(_closed.Token);
                    // UDP loses what is not taken in time; of a stream nothing more is read until there is room.
                    while (!_inbox.Add(message, link.Transport == Transport.Udp)) await _inbox.Room;
                }
            }
            catch (OperationCanceledException error)
            {
                return NetFailures.Lost("the session", "it was closed", error);
            }
            catch (MusterException error)
            {
                return _stuck ?? error;
            }
            finally
            {
                link.Dispose();
            }
        }

        private async Task Rejoin()
        {
            var deadline = _ticket.Api.Within(_options.RejoinTimeout);
            try
            {
                await _ticket.Refresh(deadline.AtMost(TimeSpan.FromMilliseconds(RefreshMs)), _closed.Token);
            }
            catch (MusterException error) when (error.IsTransient || error.Code == MusterCodes.BadAnswer)
            {
                // Games outlive the orchestrator: what is known of edges and tokens may still do.
            }
            await Open(_options.Transport, deadline, _closed.Token);
            _isEdgeGood = false;
        }

        private MusterException Stuck(MusterException error) => new MusterException(
            MusterCodes.ConnectionLost,
            $"The server took no message for {_options.SendTimeout.TotalSeconds:0.#} s. The way to it is gone, or it hangs: look at its log.",
            error);

        private MusterException End() =>
            Error ?? new MusterException(MusterCodes.Closed, "The session was closed. Connect again from the ticket.");
    }
}
