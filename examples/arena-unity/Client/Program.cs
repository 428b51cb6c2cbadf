// Players of the arena: they find a match, connect through the edge by UDP and WebSocket, play, lose their connection,
// come back to their seat, and play on. Prints a line for each and fails unless all went well.
//
//   mono arena-client.exe URL TOKEN QUEUE PLAYERS MOVES

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text;
using System.Threading.Tasks;
using Muster.Json;

namespace Muster.Examples.Arena
{
    internal static class Program
    {
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
        private static readonly TimeSpan Answer = TimeSpan.FromSeconds(2);
        private const int MoveMs = 50;
        private const int MaxTries = 10;

        private static int Main(string[] arguments)
        {
            if (arguments.Length != 5)
            {
                Console.Error.WriteLine("arguments: URL TOKEN QUEUE PLAYERS MOVES");
                return 2;
            }
            var players = new List<Task<bool>>();
            for (var number = 0; number < int.Parse(arguments[3]); number++)
            {
                var name = $"unity-{number}";
                var transport = number % 2 == 0 ? Transport.Udp : Transport.WebSocket;
                players.Add(Task.Run(() => Play(arguments, name, transport)));
            }
            return Task.WhenAll(players).GetAwaiter().GetResult().All(isGood => isGood) ? 0 : 1;
        }

        private static async Task<bool> Play(string[] arguments, string name, Transport transport)
        {
            try
            {
                var clock = Stopwatch.StartNew();
                // --- Muster: 7 lines -------------------------------------------------------------------------------
                using (var muster = new MusterApi(new MusterOptions { Url = arguments[0], Token = arguments[1] }))
                {
                    var ticket = await muster.FindMatchAsync(new MatchRequest(arguments[2], name));
                    var seat = await ticket.WaitAsync(Patience);
                    var how = new ConnectOptions { Transport = transport, SendsText = true };
                    var session = await ticket.ConnectAsync(how, Patience);
                    // -----------------------------------------------------------------------------------------------
                    await Moves(session, name, seat.SeatId, 0, 1);
                    var firstMs = clock.ElapsedMilliseconds;
                    var peer = await Moves(session, name, seat.SeatId, 1, int.Parse(arguments[4]));

                    var back = new TaskCompletionSource<bool>();
                    session.Rejoined += () => back.TrySetResult(true);
                    session.Failed += why => back.TrySetException(why);
                    clock.Restart();
                    session.Reconnect();
                    if (await Task.WhenAny(back.Task, Task.Delay(Patience)) != back.Task) throw new TimeoutException("never back");
                    await back.Task;
                    var backMs = clock.ElapsedMilliseconds;
                    var samePeer = await Moves(session, name, seat.SeatId, 1000, int.Parse(arguments[4]));
                    // A flow is the seat's: over UDP the server sees the same peer, whatever socket the player has.
                    if (transport == Transport.Udp && peer != samePeer) throw new Exception("the server saw another peer");
                    if (session.SeatId != seat.SeatId) throw new Exception("another seat");
                    await session.CloseAsync();
                    await ticket.CancelAsync();
                    Console.WriteLine($"{name} {transport}: first answer {firstMs} ms, back after {backMs} ms");
                    return true;
                }
            }
            catch (Exception error)
            {
                Console.WriteLine($"{name} {transport}: FAILED {(error as MusterException)?.Code} {error.Message}");
                return false;
            }
        }

        // Plays moves, each until it is answered; who the server takes this player for.
        private static async Task<string> Moves(GameSession session, string name, string seat, int first, int count)
        {
            var peer = string.Empty;
            for (var seq = first; seq < first + count; seq++)
            {
                var move = JsonValue.NewObject()
                    .Set("player", JsonValue.Of(name)).Set("seat", JsonValue.Of(seat)).Set("seq", JsonValue.Of(seq))
                    .Set("nonce", JsonValue.Of(seq)).Set("move", JsonValue.Parse("[1,0]"));
                JsonValue state = null;
                for (var tries = 0; state == null; tries++)
                {
                    if (tries == MaxTries) throw new TimeoutException($"move {seq} was not answered");
                    await session.SendAsync(move.ToString());
                    state = await StateOf(session, seq);
                }
                if (state["player"].AsText() != name) throw new Exception("another's session: " + state);
                peer = state["peer"].AsText();
                await Task.Delay(MoveMs);
            }
            return peer;
        }

        // The answer to a move; null if it was lost.
        private static async Task<JsonValue> StateOf(GameSession session, int seq)
        {
            try
            {
                while (true)
                {
                    var state = JsonValue.Parse(Encoding.UTF8.GetString(await session.ReceiveAsync(Answer)));
                    if (state["seq"].AsInt(-1) == seq) return state;
                }
            }
            catch (MusterException error) when (error.Code == MusterCodes.Timeout)
            {
                return null;
            }
        }
    }
}
