// The client's API: regions, matches, lobbies. Every call is one method; what comes of a match is MatchTicket's.

using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;

namespace Muster
{
    /// <summary>How to reach an orchestrator.</summary>
    public sealed class MusterOptions
    {
        /// <summary>URL of the API, as <c>https://muster.example.com</c>.</summary>
        public string Url { get; set; } = "http://127.0.0.1:7400";

        /// <summary>
        /// API token of role <c>client</c>, from <c>muster token create --role client</c>. <c>null</c> where a backend of the
        /// studio asks for matches and hands out the tickets: see <see cref="MusterApi.Attach"/>.
        /// </summary>
        public string Token { get; set; }

        /// <summary>Namespace, as <c>arena/prod</c>; only with tokens that are bound to none.</summary>
        public string Namespace { get; set; }

        /// <summary>The CA to trust, PEM, and then the only one; <c>null</c>: those the system trusts.</summary>
        public string CaPem { get; set; }

        /// <summary>Longest time of one call whose timeout is not given.</summary>
        public TimeSpan CallTimeout { get; set; } = TimeSpan.FromSeconds(10);

        /// <summary>
        /// Where the tokens of the players' last tickets are kept: they show that a seat is the player's who asks again.
        /// <c>null</c>: in memory, so that a game that was started anew finds another match.
        /// </summary>
        public ITicketStore Tickets { get; set; }

        /// <summary>What to run on; <c>null</c>: sockets, which is right everywhere but in a browser.</summary>
        public IPlatform Platform { get; set; }
    }

    /// <summary>
    /// Talks to an orchestrator as a game client. Calls go on where they were awaited: in Unity on the main thread.
    /// Every call ends by its timeout at the latest, in its result or in a <see cref="MusterException"/>.
    /// </summary>
    public sealed class MusterApi : IDisposable
    {
        // Most pages of a list that are read.
        private const int MaxPages = 100;
        private const int RepeatAfterMs = 250;

        private readonly ApiCaller _caller;
        private readonly TicketMemory _memory;
        private readonly TimeSpan _callTimeout;
        private readonly IDisposable _owned;
        private bool _closed;

        /// <summary>A client of one orchestrator. Connects only when something is called.</summary>
        /// <exception cref="MusterException">URL, token or CA are none: code <c>invalid_argument</c>.</exception>
        public MusterApi(MusterOptions options)
        {
            var platform = options.Platform;
            if (platform == null)
            {
                var own = new NetPlatform(options.CaPem);
                platform = own;
                _owned = own;
            }
            _caller = new ApiCaller(platform, options.Url, options.Token, options.Namespace);
            _memory = new TicketMemory(options.Tickets ?? new MemoryTicketStore(), _caller.Url(string.Empty).ToString());
            _callTimeout = options.CallTimeout;
        }

        internal IPlatform Platform => _caller.Platform;

        // Whose seat was given up does not want it again.
        internal void Forget(string token) => _memory.Forget(token);

        /// <summary>The regions, and where to measure them.</summary>
        public async Task<IReadOnlyList<Region>> RegionsAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var regions = new List<Region>();
            foreach (var item in await List("v1/regions", null, Within(timeout), cancel)) regions.Add(new Region(item));
            return regions;
        }

        /// <summary>
        /// The round trip to each region, in milliseconds, the smallest of a few. Regions whose beacons do not answer are
        /// left out; in a browser, which has no UDP, all are.
        /// </summary>
        public async Task<IReadOnlyDictionary<string, int>> MeasureAsync(
            TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var deadline = Within(timeout);
            var regions = new List<Region>();
            foreach (var item in await List("v1/regions", null, deadline, cancel)) regions.Add(new Region(item));
            return await Latencies.Measure(Platform, regions, deadline, cancel);
        }

        /// <summary>Asks for a match. Measures latencies first if the request has none.</summary>
        public async Task<MatchTicket> FindMatchAsync(
            MatchRequest request, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var deadline = Within(timeout);
            request.ToJson();
            if (request.LatenciesMs == null) request.LatenciesMs = await TryMeasure(deadline, cancel);
            return await Ask("v1/tickets", request, deadline, cancel);
        }

        /// <summary>Makes a lobby; the ticket is of its maker's seat.</summary>
        public Task<MatchTicket> CreateLobbyAsync(
            CreateLobbyRequest request, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Ask("v1/lobbies", request, Within(timeout), cancel);

        /// <summary>Joins the fullest public lobby that fits, or makes one if the request says so.</summary>
        public Task<MatchTicket> FindLobbyAsync(
            FindLobbyRequest request, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken)) =>
            Ask("v1/lobbies/find", request, Within(timeout), cancel);

        /// <summary>Joins a lobby by its code, as a player types it, or by its id.</summary>
        public Task<MatchTicket> JoinLobbyAsync(
            string lobby, JoinRequest request, TimeSpan? timeout = null,
            CancellationToken cancel = default(CancellationToken)) =>
            Ask($"v1/lobbies/{Segment("lobby's code", lobby)}/join", request, Within(timeout), cancel);

        /// <summary>Joins a server by its id, if its fleet allows it.</summary>
        public Task<MatchTicket> JoinServerAsync(
            string serverId, JoinRequest request, TimeSpan? timeout = null,
            CancellationToken cancel = default(CancellationToken)) =>
            Ask($"v1/servers/{Segment("server's id", serverId)}/join", request, Within(timeout), cancel);

        /// <summary>The public lobbies that fit, those that take fewest players first.</summary>
        public async Task<IReadOnlyList<Lobby>> ListLobbiesAsync(
            LobbyFilter filter, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var query = "fleet=" + Segment("fleet", filter.Fleet);
            if (!string.IsNullOrEmpty(filter.Region)) query += "&region=" + ApiCaller.Escape(filter.Region);
            if (filter.OnlyOpen) query += "&open=true";
            foreach (var tag in filter.Tags)
                query += $"&tag.{ApiCaller.Escape(tag.Key)}={ApiCaller.Escape(tag.Value)}";
            var lobbies = new List<Lobby>();
            foreach (var item in await List("v1/lobbies", query, Within(timeout), cancel)) lobbies.Add(new Lobby(item));
            return lobbies;
        }

        /// <summary>One lobby, public or private, by its code or id.</summary>
        public async Task<Lobby> GetLobbyAsync(
            string lobby, TimeSpan? timeout = null, CancellationToken cancel = default(CancellationToken))
        {
            var path = $"v1/lobbies/{Segment("lobby's code", lobby)}";
            return new Lobby(await Call("GET", path, null, null, null, Within(timeout), cancel));
        }

        /// <summary>A ticket that somebody else asked for, such as the studio's backend, by its id and its own token.</summary>
        public async Task<MatchTicket> Attach(
            string ticketId, string ticketToken, TimeSpan? timeout = null,
            CancellationToken cancel = default(CancellationToken))
        {
            var path = $"v1/tickets/{Segment("ticket's id", ticketId)}";
            var ticket = await Call("GET", path, null, null, ticketToken, Within(timeout), cancel);
            return new MatchTicket(this, new Ticket(ticket), ticketToken);
        }

        /// <summary>Lets connections go. Tickets and seats stay as they are.</summary>
        public void Dispose()
        {
            _closed = true;
            _owned?.Dispose();
        }

        internal Deadline Within(TimeSpan? timeout) => Deadline.After(Platform, timeout ?? _callTimeout);

        internal Task<JsonValue> Call(
            string method, string path, string query, JsonValue body, string token, Deadline deadline,
            CancellationToken cancel)
        {
            if (_closed) throw new MusterException(MusterCodes.Closed, "This client was closed. Make a new one.");
            return _caller.Call(method, path, query, body, token, deadline, cancel);
        }

        internal Task<IWebSocket> Watch(string path, string token, CancellationToken cancel)
        {
            var sockets = Platform.WebSockets;
            token = token ?? _caller.Token;
            var query = token == null || sockets.CanSendToken ? null : "token=" + ApiCaller.Escape(token);
            return sockets.ConnectAsync(_caller.SocketUrl(path, query), token, ApiCaller.MaxAnswerBytes, cancel);
        }

        private async Task<IReadOnlyDictionary<string, int>> TryMeasure(Deadline deadline, CancellationToken cancel)
        {
            var regions = new List<Region>();
            foreach (var item in await List("v1/regions", null, deadline, cancel)) regions.Add(new Region(item));
            return await Latencies.Measure(Platform, regions, deadline.AtMost(Latencies.Enough), cancel);
        }

        // Asks for a seat. What may have been heard although no answer came is asked again: by its idempotency key it is
        // the same ticket.
        private async Task<MatchTicket> Ask(
            string path, SeatRequest request, Deadline deadline, CancellationToken cancel)
        {
            var body = request.ToJson(_memory.TokenOf(request.Player));
            while (true)
            {
                try
                {
                    var json = await Call("POST", path, null, body, null, deadline, cancel);
                    if (json["id"].AsText().Length == 0)
                        throw NetFailures.BadAnswer($"POST {path}", "it is no ticket");
                    var token = json["token"].AsText(null);
                    _memory.Remember(request.Player, token);
                    return new MatchTicket(this, new Ticket(json), token);
                }
                catch (MusterException error) when (MayRepeat(error) && deadline.LeftMs > RepeatAfterMs)
                {
                    await deadline.Pause(RepeatAfterMs, cancel);
                }
            }
        }

        private static bool MayRepeat(MusterException error) =>
            error.Code == MusterCodes.ConnectionLost || error.Code == "contention" || error.Code == "store_unavailable";

        private async Task<List<JsonValue>> List(
            string path, string query, Deadline deadline, CancellationToken cancel)
        {
            var items = new List<JsonValue>();
            string after = null;
            for (var page = 0; page < MaxPages; page++)
            {
                var wanted = after == null ? query
                    : (query == null ? string.Empty : query + "&") + "after=" + ApiCaller.Escape(after);
                var answer = await Call("GET", path, wanted, null, null, deadline, cancel);
                if (answer["items"].Kind != JsonKind.List) throw NetFailures.BadAnswer($"GET {path}", "it has no items");
                items.AddRange(answer["items"].Items);
                after = answer["next"].AsText(null);
                if (after == null) break;
            }
            return items;
        }

        private static string Segment(string what, string value)
        {
            value = (value ?? string.Empty).Trim();
            // Dots would lead to another path.
            if (value.Trim('.').Length == 0)
                throw new MusterException(MusterCodes.InvalidArgument, $"The {what} is \"{value}\", which can be none.");
            return ApiCaller.Escape(value);
        }
    }
}
