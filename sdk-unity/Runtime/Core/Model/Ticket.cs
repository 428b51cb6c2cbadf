// A ticket, a lobby and a region, as the API tells them.

using System.Collections.Generic;
using Muster.Json;

namespace Muster
{
    /// <summary>Where a ticket is.</summary>
    public enum TicketState
    {
        /// <summary>A state that this version does not know.</summary>
        Unknown,
        /// <summary>In its queue.</summary>
        Searching,
        /// <summary>In a match that waits for its server, or for all to accept.</summary>
        Matched,
        /// <summary>Has a seat and knows where.</summary>
        Assigned,
        /// <summary>Withdrawn, or its seats were given up.</summary>
        Cancelled,
        /// <summary>Nobody was found in time.</summary>
        Expired,
        /// <summary>Cannot be served.</summary>
        Failed,
    }

    /// <summary>A ticket at one moment.</summary>
    public sealed class Ticket
    {
        internal Ticket(JsonValue json)
        {
            Json = json;
            Id = json["id"].AsText();
            Queue = json["queue"].AsText();
            Player = json["player"].AsText();
            State = StateOf(json["state"].AsText());
            Explanation = json["explanation"].AsText();
            Accepted = json["accepted"].AsBool();
            NeedsAccept = State == TicketState.Matched && !json["accept_by_ms"].IsNull && !Accepted;
            Assignment = json["assignment"].Kind == JsonKind.Object ? new Assignment(json["assignment"]) : null;
            Lobby = json["lobby"].Kind == JsonKind.Object ? new Lobby(json["lobby"]) : null;
        }

        /// <summary>Its id.</summary>
        public string Id { get; }
        /// <summary>Queue; empty if it is of a lobby or of a server joined by its id.</summary>
        public string Queue { get; }
        /// <summary>Player.</summary>
        public string Player { get; }
        /// <summary>State.</summary>
        public TicketState State { get; }
        /// <summary>In words: what it waits for, or why it ended.</summary>
        public string Explanation { get; }
        /// <summary>Whether the match waits for this player to accept.</summary>
        public bool NeedsAccept { get; }
        /// <summary>Whether this player has accepted.</summary>
        public bool Accepted { get; }
        /// <summary>Where to play; <c>null</c> before it is assigned.</summary>
        public Assignment Assignment { get; }
        /// <summary>The lobby it is of; <c>null</c> if it is of none.</summary>
        public Lobby Lobby { get; }
        /// <summary>Everything the API said.</summary>
        public JsonValue Json { get; }

        /// <summary>Whether nothing more will come.</summary>
        public bool IsOver => State > TicketState.Matched;

        private static TicketState StateOf(string text)
        {
            switch (text)
            {
                case "searching": return TicketState.Searching;
                case "matched": return TicketState.Matched;
                case "assigned": return TicketState.Assigned;
                case "cancelled": return TicketState.Cancelled;
                case "expired": return TicketState.Expired;
                case "failed": return TicketState.Failed;
                default: return TicketState.Unknown;
            }
        }
    }

    /// <summary>A lobby at one moment.</summary>
    public sealed class Lobby
    {
        internal Lobby(JsonValue json)
        {
            Json = json;
            Id = json["id"].AsText();
            Code = json["code"].AsText();
            Fleet = json["fleet"].AsText();
            Region = json["region"].AsText();
            IsRunning = json["state"].AsText() == "running";
            Name = json["name"].AsText();
            IsPublic = json["visibility"].AsText() != "private";
            IsOpen = json["open"].AsBool();
            Players = json["players"].AsInt();
            MaxPlayers = json["max_players"].AsInt();
            Owner = json["owner"].AsText();
            Config = json["config"];
            Tags = json["tags"].AsTextMap();
        }

        /// <summary>Its id.</summary>
        public string Id { get; }
        /// <summary>Letters by which players tell each other of it.</summary>
        public string Code { get; }
        /// <summary>Fleet whose server hosts it.</summary>
        public string Fleet { get; }
        /// <summary>Region.</summary>
        public string Region { get; }
        /// <summary>Whether its server runs already.</summary>
        public bool IsRunning { get; }
        /// <summary>Name; may be empty.</summary>
        public string Name { get; }
        /// <summary>Whether everybody may find it.</summary>
        public bool IsPublic { get; }
        /// <summary>Whether the game lets players in.</summary>
        public bool IsOpen { get; }
        /// <summary>Seats that are held.</summary>
        public int Players { get; }
        /// <summary>Most of them.</summary>
        public int MaxPlayers { get; }
        /// <summary>The player who made it.</summary>
        public string Owner { get; }
        /// <summary>The game's own JSON.</summary>
        public JsonValue Config { get; }
        /// <summary>What it can be searched by.</summary>
        public IReadOnlyDictionary<string, string> Tags { get; }
        /// <summary>Everything the API said.</summary>
        public JsonValue Json { get; }
    }

    /// <summary>Where a region's latency is measured.</summary>
    public sealed class BeaconAddress
    {
        internal BeaconAddress(JsonValue json)
        {
            Host = json["host"].AsText();
            Port = json["port"].AsInt();
        }

        /// <summary>Host name or address.</summary>
        public string Host { get; }
        /// <summary>UDP port.</summary>
        public int Port { get; }
    }

    /// <summary>A region.</summary>
    public sealed class Region
    {
        internal Region(JsonValue json)
        {
            Json = json;
            Name = json["name"].AsText();
            IsServed = json["served"].AsBool();
            var beacons = new List<BeaconAddress>();
            foreach (var beacon in json["beacons"].Items) beacons.Add(new BeaconAddress(beacon));
            Beacons = beacons;
        }

        /// <summary>Name.</summary>
        public string Name { get; }
        /// <summary>Whether there are an edge and a node.</summary>
        public bool IsServed { get; }
        /// <summary>Where to measure.</summary>
        public IReadOnlyList<BeaconAddress> Beacons { get; }
        /// <summary>Everything the API said.</summary>
        public JsonValue Json { get; }
    }
}
