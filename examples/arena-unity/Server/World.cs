// The game: who is there, where they stand, and a tick. Knows neither sockets nor Muster.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Text;
using System.Threading.Tasks;
using Muster.Json;

namespace Muster.Examples.Arena
{
    internal sealed class World
    {
        internal const int TickMs = 50;
        private const int MaxPlayers = 256;
        // A player of a datagram port who is silent for so long has left.
        private const int SilenceMs = 15000;

        private readonly object _lock = new object();
        private readonly Dictionary<string, Player> _players = new Dictionary<string, Player>();
        private readonly Stopwatch _clock = Stopwatch.StartNew();
        private readonly Action<string> _came;
        private readonly Action<string> _left;
        private long _tick;

        internal World(Action<string> came, Action<string> left)
        {
            _came = came;
            _left = left;
        }

        internal int Players
        {
            get { lock (_lock) return _players.Count; }
        }

        // A message of `peer`: the answer, or null for what is none of this game's.
        internal byte[] Receive(string peer, byte[] bytes, int count)
        {
            JsonValue message;
            try
            {
                message = JsonValue.Parse(Encoding.UTF8.GetString(bytes, 0, count));
            }
            catch (FormatException)
            {
                return null;
            }
            if (message["player"].AsText().Length == 0 || message["seq"].Kind != JsonKind.Number) return null;
            Player player;
            var isNew = false;
            JsonValue answer;
            lock (_lock)
            {
                if (!_players.TryGetValue(peer, out player))
                {
                    if (_players.Count == MaxPlayers) return null;
                    player = new Player(message["player"].AsText(), message["seat"].AsText(null));
                    _players[peer] = player;
                    isNew = true;
                }
                player.Count++;
                player.HeardMs = _clock.ElapsedMilliseconds;
                if (message["move"].Items.Count == 2)
                {
                    player.StepX = Math.Sign(message["move"].Items[0].AsInt());
                    player.StepY = Math.Sign(message["move"].Items[1].AsInt());
                }
                answer = JsonValue.NewObject()
                    .Set("player", JsonValue.Of(player.Name)).Set("seq", message["seq"]).Set("nonce", message["nonce"])
                    .Set("tick", JsonValue.Of(_tick)).Set("count", JsonValue.Of(player.Count))
                    .Set("peer", JsonValue.Of(peer.GetHashCode().ToString("x8")))
                    .Set("position", JsonValue.NewList().Add(JsonValue.Of(player.X)).Add(JsonValue.Of(player.Y)));
                if (message["pad"].Kind == JsonKind.Text) answer.Set("pad", message["pad"]);
            }
            if (isNew)
            {
                Console.WriteLine($"join player={player.Name} seat={player.Seat ?? "-"}");
                if (player.Seat != null) _came(player.Seat);
            }
            return Encoding.UTF8.GetBytes(answer.ToString());
        }

        // The connection of `peer` is over.
        internal void Leave(string peer)
        {
            Player player;
            bool isElsewhere;
            lock (_lock)
            {
                if (!_players.TryGetValue(peer, out player)) return;
                _players.Remove(peer);
                // Who came back by a new connection before this one was found dead still sits there.
                isElsewhere = false;
                foreach (var other in _players.Values) isElsewhere |= other.Seat == player.Seat;
            }
            Console.WriteLine($"leave player={player.Name} messages={player.Count}");
            if (player.Seat != null && !isElsewhere) _left(player.Seat);
        }

        // Ticks for ever.
        internal async Task Run()
        {
            while (true)
            {
                await Task.Delay(TickMs);
                foreach (var peer in Tick()) Leave(peer);
            }
        }

        // One step of the world; the peers that are silent for too long.
        private List<string> Tick()
        {
            var silent = new List<string>();
            lock (_lock)
            {
                _tick++;
                foreach (var pair in _players)
                {
                    pair.Value.X += pair.Value.StepX;
                    pair.Value.Y += pair.Value.StepY;
                    pair.Value.StepX = pair.Value.StepY = 0;
                    if (_clock.ElapsedMilliseconds - pair.Value.HeardMs > SilenceMs) silent.Add(pair.Key);
                }
            }
            return silent;
        }

        private sealed class Player
        {
            internal readonly string Name;
            internal readonly string Seat;
            internal int X, Y, StepX, StepY;
            internal long Count, HeardMs;

            internal Player(string name, string seat)
            {
                Name = name;
                Seat = seat;
            }
        }
    }
}
