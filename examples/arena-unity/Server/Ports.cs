// The game's two ports: datagrams, and WebSocket for browsers. A Unity game has a transport for this instead.

using System;
using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Examples.Arena
{
    internal sealed class UdpPort
    {
        private readonly UdpClient _socket;
        private readonly World _world;

        internal UdpPort(int port, World world)
        {
            _socket = new UdpClient(port, AddressFamily.InterNetwork);
            _world = world;
        }

        internal async Task Serve()
        {
            while (true)
            {
                try
                {
                    var packet = await _socket.ReceiveAsync();
                    var answer = _world.Receive("udp " + packet.RemoteEndPoint, packet.Buffer, packet.Buffer.Length);
                    if (answer != null) await _socket.SendAsync(answer, answer.Length, packet.RemoteEndPoint);
                }
                catch (SocketException)
                {
                    // A player whose socket is gone makes the system say so on ours.
                }
            }
        }
    }

    internal sealed class WebPort
    {
        private const int MaxConnections = 256;
        private const int MaxHeadBytes = 8 * 1024;
        private const int MaxMessageBytes = 64 * 1024;

        private readonly TcpListener _listener;
        private readonly World _world;
        private int _connections;

        internal WebPort(int port, World world)
        {
            _listener = new TcpListener(IPAddress.Any, port);
            _listener.Start();
            _world = world;
        }

        internal async Task Serve()
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync();
                if (Interlocked.Increment(ref _connections) <= MaxConnections) Talk(client);
                else
                {
                    Interlocked.Decrement(ref _connections);
                    client.Dispose();
                }
            }
        }

        private async void Talk(TcpClient client)
        {
            var peer = "ws " + client.Client.RemoteEndPoint;
            try
            {
                client.NoDelay = true;
                var stream = client.GetStream();
                var key = await ReadKey(stream);
                if (key == null) return;
                using (var sha = SHA1.Create())
                {
                    var accept = Convert.ToBase64String(
                        sha.ComputeHash(Encoding.ASCII.GetBytes(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
                    var head = Encoding.ASCII.GetBytes(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
                        "Sec-WebSocket-Accept: " + accept + "\r\n\r\n");
                    await stream.WriteAsync(head, 0, head.Length);
                }
                using (var socket = WebSocket.CreateFromStream(stream, true, null, TimeSpan.FromSeconds(20)))
                    await Play(socket, peer);
            }
            catch (Exception error)
            {
                Console.WriteLine($"connection {peer} ended: {error.Message}");
            }
            finally
            {
                Interlocked.Decrement(ref _connections);
                client.Dispose();
                // However a connection ends, its player is gone.
                _world.Leave(peer);
            }
        }

        private async Task Play(WebSocket socket, string peer)
        {
            var buffer = new byte[MaxMessageBytes];
            var have = 0;
            while (true)
            {
                var part = await socket.ReceiveAsync(
                    new ArraySegment<byte>(buffer, have, buffer.Length - have), CancellationToken.None);
                if (part.MessageType == WebSocketMessageType.Close) return;
                have += part.Count;
                if (!part.EndOfMessage && have < buffer.Length) continue;
                if (!part.EndOfMessage) return;
                var answer = _world.Receive(peer, buffer, have);
                have = 0;
                if (answer != null)
                    await socket.SendAsync(
                        new ArraySegment<byte>(answer), WebSocketMessageType.Text, true, CancellationToken.None);
            }
        }

        private static async Task<string> ReadKey(NetworkStream stream)
        {
            var head = new StringBuilder();
            var one = new byte[1];
            while (!head.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
            {
                if (head.Length == MaxHeadBytes || await stream.ReadAsync(one, 0, 1) == 0) return null;
                head.Append((char)one[0]);
            }
            foreach (var line in head.ToString().Split('\n'))
                if (line.StartsWith("Sec-WebSocket-Key:", StringComparison.OrdinalIgnoreCase))
                    return line.Substring(line.IndexOf(':') + 1).Trim();
            return null;
        }
    }
}
