// Where to play: an assignment and its endpoints, as the API tells them.

using System.Collections.Generic;
using Muster.Json;

namespace Muster
{
    /// <summary>How a client talks to its server.</summary>
    public enum Transport
    {
        /// <summary>The first of UDP, TCP and WebSocket that there is and that works.</summary>
        Auto,
        /// <summary>Datagrams.</summary>
        Udp,
        /// <summary>Messages behind a length of two bytes.</summary>
        Tcp,
        /// <summary>WebSocket messages.</summary>
        WebSocket,
    }

    /// <summary>A port of a server at one edge.</summary>
    public sealed class Endpoint
    {
        internal Endpoint(JsonValue json)
        {
            PortName = json["port_name"].AsText();
            Protocol = json["protocol"].AsText();
            Host = json["host"].AsText();
            Port = json["port"].AsInt();
            Url = json["url"].AsText(null);
            TokenMode = json["token_mode"].AsText();
            Token = json["token"].AsText(null);
            Tls = json["tls"].AsBool();
        }

        /// <summary>Name of the server's port, as in the fleet's file.</summary>
        public string PortName { get; }
        /// <summary><c>udp</c>, <c>tcp</c> or <c>ws</c>.</summary>
        public string Protocol { get; }
        /// <summary>Host name or address of the edge.</summary>
        public string Host { get; }
        /// <summary>Port on the edge.</summary>
        public int Port { get; }
        /// <summary>Of a WebSocket port the whole URL, with the token in it.</summary>
        public string Url { get; }
        /// <summary><c>preface</c>, <c>claim</c> or <c>open</c>: how a client proves itself.</summary>
        public string TokenMode { get; }
        /// <summary>The session token; <c>null</c> if none is asked for.</summary>
        public string Token { get; }
        /// <summary>Whether TCP begins with TLS.</summary>
        public bool Tls { get; }

        /// <summary>What is spoken, as the SDK names it.</summary>
        public Transport Transport =>
            Protocol == "udp" ? Transport.Udp : Protocol == "tcp" ? Transport.Tcp : Transport.WebSocket;

        internal static List<Endpoint> ListOf(JsonValue json)
        {
            var list = new List<Endpoint>();
            foreach (var item in json.Items) list.Add(new Endpoint(item));
            return list;
        }
    }

    /// <summary>A seat of somebody of the party.</summary>
    public sealed class PartySeat
    {
        internal PartySeat(JsonValue json)
        {
            Player = json["player"].AsText();
            SeatId = json["seat_id"].AsText();
            Endpoints = Endpoint.ListOf(json["endpoints"]);
        }

        /// <summary>The player.</summary>
        public string Player { get; }
        /// <summary>Their seat.</summary>
        public string SeatId { get; }
        /// <summary>Where they connect.</summary>
        public IReadOnlyList<Endpoint> Endpoints { get; }
    }

    /// <summary>A seat on a server, and how to get there.</summary>
    public sealed class Assignment
    {
        internal Assignment(JsonValue json)
        {
            MatchId = json["match_id"].AsText();
            ServerId = json["server_id"].AsText();
            Region = json["region"].AsText();
            SeatId = json["seat_id"].AsText();
            Team = json["team"].AsText();
            Endpoints = Endpoint.ListOf(json["endpoints"]);
            var party = new List<PartySeat>();
            foreach (var seat in json["party"].Items) party.Add(new PartySeat(seat));
            Party = party;
        }

        /// <summary>The match.</summary>
        public string MatchId { get; }
        /// <summary>The server.</summary>
        public string ServerId { get; }
        /// <summary>Its region.</summary>
        public string Region { get; }
        /// <summary>The player's seat.</summary>
        public string SeatId { get; }
        /// <summary>The team; may be empty.</summary>
        public string Team { get; }
        /// <summary>One per port and edge; the first of a port is the preferred one.</summary>
        public IReadOnlyList<Endpoint> Endpoints { get; }
        /// <summary>The seats of those who came along.</summary>
        public IReadOnlyList<PartySeat> Party { get; }
    }
}
