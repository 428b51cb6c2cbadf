// The server's side: what a game server inside its container says to Muster's agent, and hears.

using System;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;

namespace Muster
{
    /// <summary>
    /// A game server under Muster. Calls are repeated while the agent is away, until their timeout. Events are raised where
    /// <see cref="Listen"/> was called: in Unity on the main thread.
    /// </summary>
    public sealed class GameServer : IDisposable
    {
        private const int RetryMs = 500;
        // Long enough for an agent that restarts.
        private static readonly TimeSpan CallTimeout = TimeSpan.FromSeconds(30);
        // Shorter than any sensible `health_s`: a few may be lost.
        private const int HealthEveryMs = 5000;
        // How long one try may take, so that there are several within a call's timeout.
        private static readonly TimeSpan TryTimeout = TimeSpan.FromSeconds(10);

        private readonly ApiCaller _caller;
        private readonly IDisposable _owned;
        private readonly CancellationTokenSource _closed = new CancellationTokenSource();
        private bool _isListening;
        private bool _isHealthy;
        private string _toldAllocation;
        private string _toldDraining;

        /// <summary>The server that <paramref name="environment"/> describes; <c>null</c>: this process's.</summary>
        public GameServer(ServerEnvironment environment = null, IPlatform platform = null)
        {
            Environment = environment ?? ServerEnvironment.OfProcess();
            if (platform == null)
            {
                var own = new NetPlatform();
                platform = own;
                _owned = own;
            }
            if (UnderMuster) _caller = new ApiCaller(platform, Environment.SdkUrl, Environment.ServerToken, null);
        }

        /// <summary>How the server is; told first, and again after each connection to the agent.</summary>
        public event Action<ServerView> StateTold;

        /// <summary>A match has claimed the server, or its seats have changed.</summary>
        public event Action<Allocation> Allocated;

        /// <summary>
        /// The server is to finish its match and end. The time is when it is stopped although players may be on it, Unix
        /// milliseconds; <c>null</c>: there is none.
        /// </summary>
        public event Action<long?> Draining;

        /// <summary>The agent could not be asked, and why; it is tried again. Raised by the automatic calls only.</summary>
        public event Action<MusterException> Troubled;

        /// <summary>What Muster says by environment variables.</summary>
        public ServerEnvironment Environment { get; }

        /// <summary>Whether this process was started by Muster. If not, every call is <c>not_under_muster</c>.</summary>
        public bool UnderMuster => Environment.UnderMuster;

        /// <summary>Begins to hear events, until the server is disposed.</summary>
        public void Listen()
        {
            if (!UnderMuster || _isListening) return;
            _isListening = true;
            Hear();
        }

        /// <summary>Players can come. From then on the agent is told by itself that the server is well.</summary>
        public async Task ReadyAsync(TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            await Say("POST", "v1/ready", null, timeout, cancel);
            if (_isHealthy) return;
            _isHealthy = true;
            KeepHealthy();
        }

        /// <summary>The server as it is now.</summary>
        public async Task<ServerView> ReadAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            new ServerView(await Say("GET", "v1/server", null, timeout, cancel));

        /// <summary>
        /// Where the player is whose UDP packets come from this port: address and port, as their edge hears them from now.
        /// <c>not_found</c>: nobody plays from there any more.
        /// </summary>
        public async Task<string> PlayerAddressAsync(
            int port, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            (await Say("GET", "v1/players/" + port, null, timeout, cancel))["address"].AsText();

        /// <summary>
        /// The player who showed this session token is here. Muster verifies the token; only after this is the player who
        /// they say. <c>forbidden</c>: turn them away.
        /// </summary>
        public Task<VerifiedSeat> ConnectedByTokenAsync(
            string sessionToken, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Seat("connected", "token", sessionToken, timeout, cancel);

        /// <summary>
        /// The player of this seat is here. A seat sold a moment ago may be unknown yet; it is said again until the timeout.
        /// </summary>
        public Task<VerifiedSeat> ConnectedAsync(
            string seatId, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Seat("connected", "seat", seatId, timeout, cancel);

        /// <summary>The player of this seat has dropped out; the seat is kept for a while.</summary>
        public Task<VerifiedSeat> DisconnectedAsync(
            string seatId, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Seat("disconnected", "seat", seatId, timeout, cancel);

        /// <summary>The player of this seat has left for good; the seat is free at once.</summary>
        public Task<VerifiedSeat> ReleasedAsync(
            string seatId, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Seat("released", "seat", seatId, timeout, cancel);

        /// <summary>Others may join the match while it has free seats.</summary>
        public Task OpenBackfillAsync(
            Priority priority = Priority.Normal, TimeSpan? timeout = null,
            CancellationToken cancel = default(CancellationToken)) =>
            Say("POST", "v1/backfill",
                JsonValue.NewObject().Set("priority", JsonValue.Of(priority.ToString().ToLowerInvariant())), timeout, cancel);

        /// <summary>Nobody else may join the match.</summary>
        public Task CloseBackfillAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Say("DELETE", "v1/backfill", null, timeout, cancel);

        /// <summary>Changes the lobby that the match is.</summary>
        public Task ChangeLobbyAsync(
            LobbyChange change, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Say("PUT", "v1/lobby", change.ToJson(), timeout, cancel);

        /// <summary>The match is over and the server wants to end. Muster then stops it: SIGTERM first.</summary>
        public Task ShutdownAsync(TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Say("POST", "v1/shutdown", null, timeout, cancel);

        /// <summary>Ends health and events. The server itself runs on.</summary>
        public void Dispose()
        {
            _closed.Cancel();
            _owned?.Dispose();
        }

        internal async Task<VerifiedSeat> Seat(
            string what, string by, string value, TimeSpan? timeout, CancellationToken cancel)
        {
            if (string.IsNullOrEmpty(value))
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"The {by} is empty. Let the client say it in its first message.");
            var body = JsonValue.NewObject().Set(by, JsonValue.Of(value));
            return new VerifiedSeat(await Say("POST", "v1/seats/" + what, body, timeout, cancel));
        }

        // Says it until the agent has heard it.
        private async Task<JsonValue> Say(
            string method, string path, JsonValue body, TimeSpan? timeout, CancellationToken cancel)
        {
            if (!UnderMuster)
                throw new MusterException(MusterCodes.NotUnderMuster,
                    "This process was not started by Muster: MUSTER_SDK_URL is not set. Check UnderMuster first.");
            if (_closed.IsCancellationRequested)
                throw new MusterException(MusterCodes.Closed, "This server object was disposed.");
            var deadline = Deadline.After(_caller.Platform, timeout ?? CallTimeout);
            while (true)
            {
                try
                {
                    return await _caller.Call(method, path, null, body, null, deadline.AtMost(TryTimeout), cancel);
                }
                catch (MusterException error) when (MayPass(error, path) && deadline.LeftMs > RetryMs)
                {
                    await deadline.Pause(RetryMs, cancel);
                }
            }
        }

        // An agent that restarts comes back; news of a seat comes a moment after the player.
        private static bool MayPass(MusterException error, string path) =>
            error.IsTransient || error.Code == "server_state" && path == "v1/seats/connected";

        private async void KeepHealthy()
        {
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    var deadline = Deadline.After(_caller.Platform, TryTimeout);
                    await _caller.Call("POST", "v1/health", null, null, null, deadline, _closed.Token);
                    await _caller.Platform.Pause(HealthEveryMs, _closed.Token);
                }
                catch (MusterException error)
                {
                    Troubled?.Invoke(error);
                    if (!await Again()) return;
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (ObjectDisposedException) when (_closed.IsCancellationRequested)
                {
                    return;
                }
            }
        }

        private async void Hear()
        {
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    await HearOnce();
                }
                catch (WebSocketRefusedException refused)
                {
                    Troubled?.Invoke(ApiCaller.Refused("events", refused));
                }
                catch (MusterException error)
                {
                    Troubled?.Invoke(error);
                }
                catch (OperationCanceledException)
                {
                    return;
                }
                catch (ObjectDisposedException) when (_closed.IsCancellationRequested)
                {
                    return;
                }
                if (!await Again()) return;
            }
        }

        private async Task HearOnce()
        {
            var deadline = Deadline.After(_caller.Platform, CallTimeout);
            var url = _caller.SocketUrl("v1/events");
            using (var socket = await deadline.Run(
                "events", stop => _caller.Platform.WebSockets.ConnectAsync(
                    url, _caller.Token, ApiCaller.MaxAnswerBytes, stop), _closed.Token))
            {
                while (true)
                {
                    // Silence is no fault here: a match may be long, and the agent's pings find a dead connection.
                    var message = await socket.ReceiveAsync(_closed.Token);
                    if (message == null) return;
                    Tell(ApiCaller.Read("events", 200, message));
                }
            }
        }

        private void Tell(JsonValue told)
        {
            switch (told["type"].AsText())
            {
                case "state":
                    // What changed while nobody listened is in the state, and is told as the change it was.
                    var view = new ServerView(told);
                    StateTold?.Invoke(view);
                    if (view.Allocation != null) TellAllocated(view.Allocation);
                    if (view.IsDraining) TellDraining(told["drain_deadline_ms"]);
                    break;
                case "allocated":
                    TellAllocated(new Allocation(told));
                    break;
                case "draining":
                    TellDraining(told["deadline_ms"]);
                    break;
                // Newer agents may say more.
            }
        }

        private void TellAllocated(Allocation allocation)
        {
            // As a state, or as an event with its type: compared by what is said of the match.
            var words = $"{allocation.MatchId} {allocation.Json["seats"]} {allocation.Data} {allocation.Lobby}";
            if (words == _toldAllocation) return;
            _toldAllocation = words;
            Allocated?.Invoke(allocation);
        }

        private void TellDraining(JsonValue deadline)
        {
            var words = deadline.ToString();
            if (words == _toldDraining) return;
            _toldDraining = words;
            Draining?.Invoke(deadline.IsNull ? (long?)null : deadline.AsLong());
        }

        private async Task<bool> Again()
        {
            try
            {
                await _caller.Platform.Pause(RetryMs, _closed.Token);
                return true;
            }
            catch (OperationCanceledException)
            {
                return false;
            }
        }
    }
}
