// What a player asks for. Each request is plain data and knows its own JSON; the API checks what it says.

using System;
using System.Collections.Generic;
using Muster.Json;

namespace Muster
{
    /// <summary>Who is served first among equals.</summary>
    public enum Priority
    {
        /// <summary>As most.</summary>
        Normal,
        /// <summary>After the others.</summary>
        Low,
        /// <summary>Before the others.</summary>
        High,
    }

    /// <summary>What describes a player, by the names of the queue's attributes.</summary>
    public sealed class Attributes
    {
        internal readonly JsonValue Json = JsonValue.NewObject();

        /// <summary>A number.</summary>
        public Attributes Set(string name, double value)
        {
            Json.Set(name, JsonValue.Of(value));
            return this;
        }

        /// <summary>A text.</summary>
        public Attributes Set(string name, string value)
        {
            Json.Set(name, JsonValue.Of(value));
            return this;
        }

        /// <summary>A set of texts.</summary>
        public Attributes Set(string name, IEnumerable<string> tags)
        {
            Json.Set(name, JsonValue.Of(tags));
            return this;
        }
    }

    /// <summary>Somebody of a party.</summary>
    public sealed class PartyMember
    {
        /// <summary>A player of that name.</summary>
        public PartyMember(string player)
        {
            Player = player;
        }

        /// <summary>The studio's name for them.</summary>
        public string Player { get; }

        /// <summary>What describes them.</summary>
        public Attributes Attributes { get; } = new Attributes();

        internal JsonValue ToJson()
        {
            var json = JsonValue.NewObject().Set("player", JsonValue.Of(Player));
            return Attributes.Json.Members.Count == 0 ? json : json.Set("attributes", Attributes.Json);
        }
    }

    /// <summary>What every request for a seat says.</summary>
    public abstract class SeatRequest
    {
        internal SeatRequest(string player)
        {
            Player = player;
        }

        /// <summary>The player, by the studio's name for them.</summary>
        public string Player { get; }

        /// <summary>Who comes along; they stay together.</summary>
        public List<PartyMember> Party { get; } = new List<PartyMember>();

        /// <summary>
        /// Asking again with the same key is the same ticket. The SDK makes one up, so that it can repeat a request whose
        /// answer was lost.
        /// </summary>
        public string IdempotencyKey { get; set; }

        /// <summary>
        /// <see cref="MatchTicket.Token"/> of the tickets that the players had before: proof that a kept seat is theirs.
        /// Empty: the player's last one, which the SDK remembers (<see cref="MusterOptions.Tickets"/>). A party that is to
        /// come back as a whole gives the tokens of all of its tickets.
        /// </summary>
        public List<string> PreviousTokens { get; } = new List<string>();

        /// <summary>
        /// Fields that this version of the SDK has no property for, as the API names them. They take the place of what the
        /// properties say.
        /// </summary>
        public JsonValue Extra { get; set; }

        // Whether the request can show older tickets. A new lobby has no seats to come back to.
        internal virtual bool ShowsTickets => true;

        // `remembered`: the token of the player's last ticket, if there is one.
        internal JsonValue ToJson(string remembered = null)
        {
            if (string.IsNullOrEmpty(Player))
                throw new MusterException(MusterCodes.InvalidArgument,
                    "The player's name is empty. Give the name by which your studio knows them.");
            var json = JsonValue.NewObject().Set("player", JsonValue.Of(Player));
            if (Party.Count > 0)
            {
                var party = JsonValue.NewList();
                foreach (var member in Party) party.Add(member.ToJson());
                json.Set("party", party);
            }
            json.Set("idempotency_key", JsonValue.Of(IdempotencyKey ?? Guid.NewGuid().ToString("N")));
            if (ShowsTickets)
            {
                if (PreviousTokens.Count > 0) json.Set("previous_tokens", JsonValue.Of(PreviousTokens));
                else if (remembered != null) json.Set("previous_tokens", JsonValue.Of(new[] { remembered }));
            }
            Fill(json);
            if (Extra != null)
                foreach (var member in Extra.Members) json.Set(member.Key, member.Value);
            return json;
        }

        internal abstract void Fill(JsonValue json);

        internal static void SetLatencies(JsonValue json, IReadOnlyDictionary<string, int> latencies)
        {
            if (latencies == null || latencies.Count == 0) return;
            var map = JsonValue.NewObject();
            foreach (var pair in latencies) map.Set(pair.Key, JsonValue.Of(pair.Value));
            json.Set("latencies_ms", map);
        }

        internal static JsonValue TextMap(Dictionary<string, string> texts)
        {
            if (texts.Count == 0) return null;
            var map = JsonValue.NewObject();
            foreach (var pair in texts) map.Set(pair.Key, JsonValue.Of(pair.Value));
            return map;
        }

        internal static string Needed(string what, string value)
        {
            if (!string.IsNullOrEmpty(value)) return value;
            throw new MusterException(MusterCodes.InvalidArgument, $"The {what} is empty. Name one that was applied.");
        }
    }

    /// <summary>Asks for a match of a queue.</summary>
    public sealed class MatchRequest : SeatRequest
    {
        /// <summary>Asks for a match of <paramref name="queue"/> for <paramref name="player"/>.</summary>
        public MatchRequest(string queue, string player)
            : base(player)
        {
            Queue = queue;
        }

        /// <summary>Queue.</summary>
        public string Queue { get; }

        /// <summary>What describes the player.</summary>
        public Attributes Attributes { get; } = new Attributes();

        /// <summary>Round trips by region; <c>null</c>: the client measures them first.</summary>
        public IReadOnlyDictionary<string, int> LatenciesMs { get; set; }

        /// <summary>What must be true of others, as <c>abs(skill - mine.skill) &lt; 50</c>.</summary>
        public string Filter { get; set; }

        /// <summary>Players not to play with.</summary>
        public List<string> Blocks { get; } = new List<string>();

        /// <summary>Who is served first among equals.</summary>
        public Priority Priority { get; set; }

        /// <summary>Whether to come back to a seat that is kept; else it is given up.</summary>
        public bool Rejoin { get; set; } = true;

        internal override void Fill(JsonValue json)
        {
            json.Set("queue", JsonValue.Of(Needed("queue", Queue)));
            if (Attributes.Json.Members.Count > 0) json.Set("attributes", Attributes.Json);
            SetLatencies(json, LatenciesMs);
            if (!string.IsNullOrEmpty(Filter)) json.Set("filter", JsonValue.Of(Filter));
            if (Blocks.Count > 0) json.Set("blocks", JsonValue.Of(Blocks));
            if (Priority != Priority.Normal) json.Set("priority", JsonValue.Of(Priority == Priority.Low ? "low" : "high"));
            if (!Rejoin) json.Set("rejoin", JsonValue.Of(false));
        }
    }

    /// <summary>What a lobby is to be like.</summary>
    public sealed class LobbySpec
    {
        /// <summary>Name that others see.</summary>
        public string Name { get; set; }

        /// <summary>Whether it is found by its code only.</summary>
        public bool IsPrivate { get; set; }

        /// <summary>Most players; 0: as many as the fleet says.</summary>
        public int MaxPlayers { get; set; }

        /// <summary>Any JSON of the game's, up to 4 KiB.</summary>
        public JsonValue Config { get; set; }

        /// <summary>What it can be searched by.</summary>
        public Dictionary<string, string> Tags { get; } = new Dictionary<string, string>();

        internal JsonValue ToJson()
        {
            var json = JsonValue.NewObject().Set("name", JsonValue.Of(Name)).Set("config", Config);
            if (IsPrivate) json.Set("visibility", JsonValue.Of("private"));
            if (MaxPlayers > 0) json.Set("max_players", JsonValue.Of(MaxPlayers));
            if (Tags.Count > 0)
            {
                var tags = JsonValue.NewObject();
                foreach (var tag in Tags) tags.Set(tag.Key, JsonValue.Of(tag.Value));
                json.Set("tags", tags);
            }
            return json;
        }
    }

    /// <summary>Makes a lobby.</summary>
    public sealed class CreateLobbyRequest : SeatRequest
    {
        /// <summary>Makes a lobby on a server of <paramref name="fleet"/>.</summary>
        public CreateLobbyRequest(string fleet, string player)
            : base(player)
        {
            Fleet = fleet;
        }

        /// <summary>Fleet.</summary>
        public string Fleet { get; }

        /// <summary>What it is to be like.</summary>
        public LobbySpec Lobby { get; } = new LobbySpec();

        /// <summary>Regions it may be in, best first; empty: any.</summary>
        public List<string> Regions { get; } = new List<string>();

        /// <summary>Round trips by region; the nearest is taken.</summary>
        public IReadOnlyDictionary<string, int> LatenciesMs { get; set; }

        internal override bool ShowsTickets => false;

        internal override void Fill(JsonValue json)
        {
            json.Set("fleet", JsonValue.Of(Needed("fleet", Fleet)));
            json.Set("lobby", Lobby.ToJson());
            if (Regions.Count > 0) json.Set("regions", JsonValue.Of(Regions));
            SetLatencies(json, LatenciesMs);
        }
    }

    /// <summary>Joins the fullest public lobby that fits.</summary>
    public sealed class FindLobbyRequest : SeatRequest
    {
        /// <summary>Looks among the lobbies of <paramref name="fleet"/>.</summary>
        public FindLobbyRequest(string fleet, string player)
            : base(player)
        {
            Fleet = fleet;
        }

        /// <summary>Fleet.</summary>
        public string Fleet { get; }

        /// <summary>Tags it must have.</summary>
        public Dictionary<string, string> Tags { get; } = new Dictionary<string, string>();

        /// <summary>Regions it may be in; empty: any.</summary>
        public List<string> Regions { get; } = new List<string>();

        /// <summary>Round trips by region.</summary>
        public IReadOnlyDictionary<string, int> LatenciesMs { get; set; }

        /// <summary>Farthest region in milliseconds; 0: no bound.</summary>
        public int MaxLatencyMs { get; set; }

        /// <summary>What is made if none fits; <c>null</c>: nothing.</summary>
        public LobbySpec Create { get; set; }

        internal override void Fill(JsonValue json)
        {
            json.Set("fleet", JsonValue.Of(Needed("fleet", Fleet)));
            json.Set("tags", TextMap(Tags));
            if (Regions.Count > 0) json.Set("regions", JsonValue.Of(Regions));
            if (MaxLatencyMs > 0) json.Set("max_latency_ms", JsonValue.Of(MaxLatencyMs));
            if (Create != null) json.Set("create", Create.ToJson());
            SetLatencies(json, LatenciesMs);
        }
    }

    /// <summary>Joins a lobby, or a server by its id.</summary>
    public sealed class JoinRequest : SeatRequest
    {
        /// <summary>Joins as <paramref name="player"/>.</summary>
        public JoinRequest(string player)
            : base(player)
        {
        }

        internal override void Fill(JsonValue json)
        {
        }
    }

    /// <summary>Which public lobbies to list.</summary>
    public sealed class LobbyFilter
    {
        /// <summary>Those of <paramref name="fleet"/>.</summary>
        public LobbyFilter(string fleet)
        {
            Fleet = fleet;
        }

        /// <summary>Fleet.</summary>
        public string Fleet { get; }

        /// <summary>Region; <c>null</c>: any.</summary>
        public string Region { get; set; }

        /// <summary>Tags they must have.</summary>
        public Dictionary<string, string> Tags { get; } = new Dictionary<string, string>();

        /// <summary>Whether only those that take players.</summary>
        public bool OnlyOpen { get; set; }
    }
}
