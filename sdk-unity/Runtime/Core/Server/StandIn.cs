// Stands in a container for a server that runs in a developer's editor: passes on what players send to the container's
// ports, and back. What is said to Muster the server in the editor says, with the container's own variables. For a machine
// of one's own alone: whoever develops sits beside the node.

using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;

namespace Muster
{
    /// <summary>
    /// What a server's container does while the editor's window has attached the project. The components do it by
    /// themselves; a server without the engine asks <see cref="ServerEnvironment.IsStandIn"/> and awaits
    /// <see cref="RunAsync"/> instead of serving.
    /// </summary>
    public sealed class StandIn : IDisposable
    {
        /// <summary>Players by UDP, and connections, that each port takes at a time.</summary>
        public const int MaxPlayers = 64;

        // Silence after which a player by UDP is forgotten.
        private const int IdleMs = 60000;
        private const int SweepMs = 5000;
        private const int ConnectMs = 5000;
        private const int RetryMs = 500;
        private const int ChunkBytes = 64 * 1024;

        private readonly IPlatform _platform;
        private readonly string _host;
        private readonly CancellationTokenSource _closed = new CancellationTokenSource();
        private readonly List<IDisposable> _listening = new List<IDisposable>();

        internal StandIn(IPlatform platform, string host)
        {
            _platform = platform;
            _host = host;
        }

        /// <summary>Stands in until it is cancelled.</summary>
        /// <exception cref="MusterException">The process is no stand-in, or a port is taken.</exception>
        public static async Task RunAsync(
            ServerEnvironment environment, CancellationToken cancel = default(CancellationToken))
        {
            if (!environment.IsStandIn || !environment.UnderMuster)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"This process stands in for nobody: {ServerEnvironment.StandInVariable} is set by the editor's Attach.");
            using (var platform = new NetPlatform())
            using (var server = new GameServer(environment, platform))
            using (var standIn = new StandIn(platform, environment.NodeHost))
            {
                await SpeakOnce(server, cancel);
                foreach (var port in new HashSet<int>(environment.Ports.Values)) standIn.Open(port, port);
                await Task.Delay(Timeout.Infinite, cancel);
            }
        }

        /// <summary>Closes its ports and the players' connections.</summary>
        public void Dispose()
        {
            _closed.Cancel();
            foreach (var listening in _listening) listening.Dispose();
        }

        // A server that never speaks to the agent is ready once its ports listen; this one is when the editor's says so.
        private static async Task SpeakOnce(GameServer server, CancellationToken cancel)
        {
            while (true)
            {
                try
                {
                    await server.ReadAsync(null, cancel);
                    return;
                }
                catch (MusterException error) when (error.IsTransient)
                {
                    await Task.Delay(RetryMs, cancel);
                }
            }
        }

        // Players' ports are told by name and number; what is spoken on them is not, so both are passed on.
        internal void Open(int port, int to)
        {
            try
            {
                var udp = new UdpClient(port, AddressFamily.InterNetwork);
                _listening.Add(udp);
                var tcp = new TcpListener(IPAddress.Any, port);
                tcp.Start(MaxPlayers);
                _listening.Add(new Stopping(tcp));
                PassPackets(udp, to);
                PassConnections(tcp, to);
            }
            catch (SocketException error)
            {
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"Port {port} cannot be listened on ({error.Message.TrimEnd('.')}). End what has it.", error);
            }
        }

        // One who plays by UDP. The server tells players apart by the ports that they come from, so each has one.
        private sealed class Player : IDisposable
        {
            internal readonly IPEndPoint Outside;
            internal readonly UdpClient Inside;
            internal long HeardMs;

            internal Player(IPEndPoint outside, string host, int port)
            {
                Outside = outside;
                Inside = new UdpClient(AddressFamily.InterNetwork);
                Inside.Connect(host, port);
            }

            public void Dispose() => Inside.Dispose();
        }

        private sealed class Stopping : IDisposable
        {
            private readonly TcpListener _listener;

            internal Stopping(TcpListener listener) => _listener = listener;

            public void Dispose() => _listener.Stop();
        }

        private async void PassPackets(UdpClient outside, int to)
        {
            var players = new Dictionary<IPEndPoint, Player>();
            var sweptMs = _platform.NowMs;
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    var packet = await outside.ReceiveAsync();
                    if (_platform.NowMs - sweptMs > SweepMs) sweptMs = Sweep(players);
                    Player player;
                    if (!players.TryGetValue(packet.RemoteEndPoint, out player))
                    {
                        if (players.Count == MaxPlayers) continue;
                        player = new Player(packet.RemoteEndPoint, _host, to);
                        players[packet.RemoteEndPoint] = player;
                        PassBack(player, outside);
                    }
                    player.HeardMs = _platform.NowMs;
                    await player.Inside.SendAsync(packet.Buffer, packet.Buffer.Length);
                }
                catch (SocketException)
                {
                    // Nobody listens in the editor, or a player's socket is gone; the others play on.
                }
                catch (ObjectDisposedException)
                {
                    break;
                }
            }
            foreach (var player in players.Values) player.Dispose();
        }

        private long Sweep(Dictionary<IPEndPoint, Player> players)
        {
            foreach (var player in new List<Player>(players.Values))
            {
                if (_platform.NowMs - player.HeardMs < IdleMs) continue;
                players.Remove(player.Outside);
                player.Dispose();
            }
            return _platform.NowMs;
        }

        private async void PassBack(Player player, UdpClient outside)
        {
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    var packet = await player.Inside.ReceiveAsync();
                    await outside.SendAsync(packet.Buffer, packet.Buffer.Length, player.Outside);
                }
                catch (SocketException)
                {
                    // As above.
                }
                catch (ObjectDisposedException)
                {
                    return;
                }
            }
        }

        private async void PassConnections(TcpListener listener, int to)
        {
            var room = new SemaphoreSlim(MaxPlayers, MaxPlayers);
            while (!_closed.IsCancellationRequested)
            {
                try
                {
                    await room.WaitAsync(_closed.Token);
                    PassConnection(await listener.AcceptTcpClientAsync(), to, room);
                }
                catch (SocketException)
                {
                    // Who came is gone already.
                    room.Release();
                }
                catch (Exception error) when (error is ObjectDisposedException || error is OperationCanceledException)
                {
                    return;
                }
            }
        }

        private async void PassConnection(TcpClient outside, int to, SemaphoreSlim room)
        {
            try
            {
                using (outside)
                using (var inside = await Deadline.After(_platform, TimeSpan.FromMilliseconds(ConnectMs)).Run(
                    "the server in the editor", stop => Dial.Tcp(_host, to, stop), _closed.Token))
                using (_closed.Token.Register(outside.Dispose))
                {
                    outside.NoDelay = true;
                    var stream = outside.GetStream();
                    // Whichever side ends, both do.
                    await Task.WhenAny(
                        stream.CopyToAsync(inside, ChunkBytes, _closed.Token),
                        inside.CopyToAsync(stream, ChunkBytes, _closed.Token));
                }
            }
            catch (Exception error) when (
                error is MusterException || error is OperationCanceledException || error is ObjectDisposedException ||
                error is InvalidOperationException)
            {
                // Nobody listens in the editor, or the player has gone: the connection ends.
            }
            finally
            {
                room.Release();
            }
        }
    }
}
