// Arena as a Unity server would be built: the SDK's core, a tick, UDP and WebSocket. Without the engine, so that it runs on
// Mono alone; in a Unity project the same lines stand in a MonoBehaviour, and `MusterServer` is the component for them.
//
// What Muster needs of a game is marked. The rest is the game: its messages are those of examples/arena-server.

using System;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Examples.Arena
{
    internal static class Program
    {
        private static int Main()
        {
            try
            {
                Serve().GetAwaiter().GetResult();
                return 0;
            }
            catch (Exception error)
            {
                Console.Error.WriteLine("error: " + error.Message);
                return 1;
            }
        }

        private static async Task Serve()
        {
            // In a Unity project the package does this: players are passed on while the window has attached a project.
            var environment = ServerEnvironment.OfProcess();
            if (environment.IsStandIn) await StandIn.RunAsync(environment);

            // --- Muster: 8 lines -----------------------------------------------------------------------------------
            var muster = new GameServer();
            var over = new TaskCompletionSource<string>();
            var arena = new World(
                seat => Tell(muster, () => muster.ConnectedAsync(seat)),
                seat => Tell(muster, () => muster.DisconnectedAsync(seat)));
            muster.Allocated += match => Console.WriteLine($"allocated seats={match.Seats.Count}");
            muster.Draining += at => over.TrySetResult("drain");
            muster.Listen();
            // -------------------------------------------------------------------------------------------------------

            var udp = new UdpPort(muster.Environment.Port("game-udp", 7777), arena);
            var web = new WebPort(muster.Environment.Port("game-ws", 7779), arena);
            Console.WriteLine("listening");
            // --- Muster: players can come, once everything listens -----------------------------------------------------
            if (muster.UnderMuster) await muster.ReadyAsync();
            // -------------------------------------------------------------------------------------------------------
            await Task.WhenAny(udp.Serve(), web.Serve(), arena.Run(), Drained(over.Task, arena));
            // --- Muster: the match is over -------------------------------------------------------------------------
            if (muster.UnderMuster) await muster.ShutdownAsync();
        }

        // The drain lets the match end by itself: the server is done once its last player has left.
        private static async Task Drained(Task<string> over, World arena)
        {
            Console.WriteLine("stop " + await over);
            while (arena.Players > 0) await Task.Delay(World.TickMs);
        }

        private static async void Tell(GameServer muster, Func<Task> say)
        {
            if (!muster.UnderMuster) return;
            try
            {
                await say();
            }
            catch (MusterException error)
            {
                Console.Error.WriteLine($"muster {error.Code}: {error.Message}");
            }
        }
    }
}
