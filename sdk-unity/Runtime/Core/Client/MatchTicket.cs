// A ticket in the hands of its player: watched until it is assigned, accepted, withdrawn, and connected.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;

namespace Muster
{
    /// <summary>A request for a match, and what came of it.</summary>
    public sealed class MatchTicket
    {
        private const int RetryMs = 500;
        private const int LongPollSeconds = 5;
        // A watch that is silent for so long may be dead: the orchestrator tells what changes at once, and nothing else.
        private static readonly TimeSpan WatchSilence = TimeSpan.FromSeconds(30);
        private static readonly TimeSpan PollSlack = TimeSpan.FromSeconds(5);

        private readonly MusterApi _api;
        private readonly string _path;

        internal MatchTicket(MusterApi api, Ticket ticket, string token)
        {
            _api = api;
            Current = ticket;
            Token = token;
            _path = "v1/tickets/" + ApiCaller.Escape(ticket.Id);
        }

        /// <summary>State or explanation are new. Raised where the call that noticed was awaited.</summary>
        public event Action<Ticket> Progressed;

        /// <summary>The ticket as it was told last.</summary>
        public Ticket Current { get; private set; }

        /// <summary>Its id.</summary>
        public string Id => Current.Id;

        /// <summary>Shows and withdraws this ticket and no other; can be handed to another process of the player.</summary>
        public string Token { get; }

        internal MusterApi Api => _api;

        /// <summary>
        /// Waits until there is a seat. A connection that breaks meanwhile is made anew. After a timeout the ticket
        /// searches on: wait again, or <see cref="CancelAsync"/> it.
        /// </summary>
        /// <exception cref="MusterException">
        /// <c>match_failed</c>, <c>match_expired</c>, <c>match_cancelled</c>, with the reason in the message; <c>timeout</c>.
        /// </exception>
        public async Task<Assignment> WaitAsync(TimeSpan timeout, CancellationToken cancel = default(CancellationToken))
        {
            var deadline = _api.Within(timeout);
            MusterException last = null;
            while (true)
            {
                if (Current.IsOver) return Outcome();
                if (deadline.IsOver) throw NotYet(last);
                try
                {
                    await Watch(deadline, cancel);
                    if (!Current.IsOver) await Poll(deadline, cancel);
                    last = null;
                }
                catch (MusterException error) when (error.IsTransient || error.Code == MusterCodes.BadAnswer)
                {
                    if (error.Code != MusterCodes.Timeout) last = error;
                    await deadline.Pause(RetryMs, cancel);
                }
            }
        }

        /// <summary>Reads the ticket anew; its endpoints then have new session tokens.</summary>
        public async Task<Ticket> RefreshAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            await Refresh(_api.Within(timeout), cancel);
            return Current;
        }

        /// <summary>Withdraws it; once assigned, that is leaving the match for good.</summary>
        public async Task CancelAsync(TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            await _api.Call("DELETE", _path, null, null, Token, _api.Within(timeout), cancel);
            _api.Forget(Token);
        }

        /// <summary>Accepts the match that was proposed.</summary>
        public Task AcceptAsync(TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            _api.Call("POST", _path + "/accept", null, null, Token, _api.Within(timeout), cancel);

        /// <summary>Declines the match that was proposed; the ticket is over.</summary>
        public Task DeclineAsync(TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            _api.Call("POST", _path + "/decline", null, null, Token, _api.Within(timeout), cancel);

        /// <summary>Why the ticket is where it is, in sentences.</summary>
        public async Task<IReadOnlyList<string>> ExplainAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var answer = await _api.Call("GET", _path + "/explain", null, null, Token, _api.Within(timeout), cancel);
            return answer["words"].AsTexts();
        }

        /// <summary>Connects to the server, proves the seat, and comes back by itself when the connection is lost.</summary>
        /// <exception cref="MusterException">
        /// <c>no_endpoint</c>, <c>refused_…</c>, <c>unreachable</c>, <c>tls_untrusted</c>, <c>timeout</c>.
        /// </exception>
        public Task<GameSession> ConnectAsync(
            ConnectOptions options = null, TimeSpan? timeout = null,
            CancellationToken cancel = default(CancellationToken)) =>
            GameSession.Connect(this, options ?? new ConnectOptions(), _api.Within(timeout), cancel);

        /// <summary>
        /// Claims the seat for an engine that hides its socket: within 10 seconds the next socket of this machine that
        /// sends to the endpoint given back is the seat's. For ports whose token mode is <c>claim</c>; an <c>open</c> port
        /// needs none. A connection that is lost is claimed again, and then made anew.
        /// </summary>
        public Task<Endpoint> ClaimAsync(
            string portName = null, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            SeatClaim.Make(this, portName, _api.Within(timeout), cancel);

        internal async Task Refresh(Deadline deadline, CancellationToken cancel)
        {
            Update(await _api.Call("GET", _path, null, null, Token, deadline, cancel));
        }

        // How it ended: the assignment, or an exception.
        internal Assignment Outcome()
        {
            var why = MusterException.Sentence(
                Current.Explanation.Length == 0 ? "no reason was given" : Current.Explanation);
            switch (Current.State)
            {
                case TicketState.Assigned:
                    if (Current.Assignment != null) return Current.Assignment;
                    throw NetFailures.BadAnswer("the ticket", "it is assigned without an assignment");
                case TicketState.Expired:
                    throw new MusterException(MusterCodes.MatchExpired, $"No match was found in time. {why} Ask again.");
                case TicketState.Failed:
                    throw new MusterException(MusterCodes.MatchFailed, $"The match cannot be had. {why}");
                default:
                    throw new MusterException(MusterCodes.MatchCancelled,
                        $"The ticket was withdrawn, or its seats were given up. {why}");
            }
        }

        // Follows the ticket's WebSocket until it is over or the connection is.
        private async Task Watch(Deadline deadline, CancellationToken cancel)
        {
            const string what = "watching the ticket";
            try
            {
                using (var socket = await deadline.Run(what, stop => _api.Watch(_path + "/watch", Token, stop), cancel))
                {
                    while (!Current.IsOver)
                    {
                        var message = await deadline.AtMost(WatchSilence).Run(what, socket.ReceiveAsync, cancel);
                        if (message == null) return;
                        Update(ApiCaller.Read(what, 200, message));
                    }
                }
            }
            catch (WebSocketRefusedException refused)
            {
                // Proxies exist that let no WebSocket through: then polls do.
                var error = ApiCaller.Refused(what, refused);
                if (error.Code != MusterCodes.BadAnswer) throw error;
            }
            catch (MusterException error) when (error.Code == MusterCodes.ConnectionLost)
            {
            }
        }

        private async Task Poll(Deadline deadline, CancellationToken cancel)
        {
            var query = "state=" + Current.Json["state"].AsText() + "&wait_s=" + LongPollSeconds;
            var poll = deadline.AtMost(TimeSpan.FromSeconds(LongPollSeconds) + PollSlack);
            Update(await _api.Call("GET", _path, query, null, Token, poll, cancel));
        }

        private void Update(JsonValue json)
        {
            var ticket = new Ticket(json);
            if (ticket.Id != Id || ticket.State == TicketState.Unknown)
                throw NetFailures.BadAnswer("the ticket", "it is no ticket, or of another id");
            var isNews = ticket.State != Current.State || ticket.Explanation != Current.Explanation;
            Current = ticket;
            if (isNews) Progressed?.Invoke(ticket);
        }

        private MusterException NotYet(MusterException last)
        {
            var text = new StringBuilder($"No match yet: the ticket is {Current.State.ToString().ToLowerInvariant()}. ");
            if (Current.Explanation.Length > 0) text.Append(MusterException.Sentence(Current.Explanation)).Append(' ');
            text.Append("It searches on: wait again, or withdraw it.");
            if (last != null) text.Append(" Besides, the orchestrator could not be asked: ").Append(last.Message);
            return new MusterException(MusterCodes.Timeout, text.ToString(), last);
        }
    }
}
