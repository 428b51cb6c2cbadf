// A server as Muster's agent shows it to itself: state, the match that claimed it, its seats.

using System.Collections.Generic;
using Muster.Json;

namespace Muster
{
    /// <summary>A seat that was sold.</summary>
    public sealed class Seat
    {
        internal Seat(JsonValue json)
        {
            Id = json["seat"].AsText();
            Player = json["player"].AsText();
            Team = json["team"].AsText();
        }

        /// <summary>Its id.</summary>
        public string Id { get; }
        /// <summary>The player.</summary>
        public string Player { get; }
        /// <summary>Their team; may be empty.</summary>
        public string Team { get; }
    }

    /// <summary>The match that claimed the server.</summary>
    public sealed class Allocation
    {
        internal Allocation(JsonValue json)
        {
            Json = json;
            MatchId = json["match_id"].AsText();
            var seats = new List<Seat>();
            foreach (var seat in json["seats"].Items) seats.Add(new Seat(seat));
            Seats = seats;
            Data = json["data"];
            Lobby = json["lobby"];
        }

        /// <summary>The match.</summary>
        public string MatchId { get; }
        /// <summary>Who will come, or is there.</summary>
        public IReadOnlyList<Seat> Seats { get; }
        /// <summary>What queue or caller gave along.</summary>
        public JsonValue Data { get; }
        /// <summary>The lobby that the match is: name, code, config, tags; null JSON if it is none.</summary>
        public JsonValue Lobby { get; }
        /// <summary>Everything the agent said.</summary>
        public JsonValue Json { get; }
    }

    /// <summary>The server at one moment.</summary>
    public sealed class ServerView
    {
        internal ServerView(JsonValue json)
        {
            Json = json;
            Id = json["id"].AsText();
            State = json["state"].AsText();
            Allocation = json["allocation"].Kind == JsonKind.Object ? new Allocation(json["allocation"]) : null;
            ConnectedSeats = json["connected_seats"].AsTexts();
            IsDraining = json["draining"].AsBool();
        }

        /// <summary>Its id.</summary>
        public string Id { get; }
        /// <summary><c>starting</c>, <c>ready</c>, <c>allocated</c>, <c>draining</c> or <c>stopping</c>.</summary>
        public string State { get; }
        /// <summary>The match that claimed it; <c>null</c> if none has.</summary>
        public Allocation Allocation { get; }
        /// <summary>Ids of the seats it has said are connected.</summary>
        public IReadOnlyList<string> ConnectedSeats { get; }
        /// <summary>Whether it has been told to finish.</summary>
        public bool IsDraining { get; }
        /// <summary>Everything the agent said.</summary>
        public JsonValue Json { get; }
    }

    /// <summary>A seat as the server may trust it.</summary>
    public sealed class VerifiedSeat
    {
        internal VerifiedSeat(JsonValue json)
        {
            SeatId = json["seat"].AsText();
            Player = json["player"].AsText();
        }

        /// <summary>Its id.</summary>
        public string SeatId { get; }
        /// <summary>The player in it.</summary>
        public string Player { get; }
    }

    /// <summary>What a game changes of its lobby; what is left <c>null</c> stays.</summary>
    public sealed class LobbyChange
    {
        /// <summary>Name.</summary>
        public string Name { get; set; }
        /// <summary>Whether players are let in.</summary>
        public bool? IsOpen { get; set; }
        /// <summary>Whether it is found by its code only.</summary>
        public bool? IsPrivate { get; set; }
        /// <summary>Any JSON of the game's.</summary>
        public JsonValue Config { get; set; }
        /// <summary>All of the tags.</summary>
        public Dictionary<string, string> Tags { get; set; }

        internal JsonValue ToJson()
        {
            var json = JsonValue.NewObject().Set("name", JsonValue.Of(Name)).Set("config", Config);
            if (IsOpen.HasValue) json.Set("open", JsonValue.Of(IsOpen.Value));
            if (IsPrivate.HasValue) json.Set("visibility", JsonValue.Of(IsPrivate.Value ? "private" : "public"));
            if (Tags == null) return json;
            var tags = JsonValue.NewObject();
            foreach (var tag in Tags) tags.Set(tag.Key, JsonValue.Of(tag.Value));
            return json.Set("tags", tags);
        }
    }
}
