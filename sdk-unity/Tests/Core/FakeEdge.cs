// An edge with one UDP port that answers prefaces as a test says, and echoes what comes from a proven socket.

using System;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Muster.Tests
{
    internal sealed class FakeEdge : IDisposable
    {
        private readonly UdpClient _socket = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0));
        private readonly object _lock = new object();
        private readonly HashSet<IPEndPoint> _proven = new HashSet<IPEndPoint>();
        private readonly List<string> _tokens = new List<string>();

        internal FakeEdge()
        {
            Serve();
        }

        // What a preface with this token is answered: 0 yes, 1 to 5 a refusal, null nothing.
        internal Func<string, int?> Judge { get; set; } = token => 0;

        // Whether packets are dropped, as by a network that is gone.
        internal volatile bool IsDark;

        // Whether the server behind it has nothing to say.
        internal volatile bool IsMute;

        internal int Port => ((IPEndPoint)_socket.Client.LocalEndPoint).Port;

        // Tokens that were shown, in order, repeats included.
        internal List<string> Tokens
        {
            get { lock (_lock) return new List<string>(_tokens); }
        }

        internal int ProvenSockets
        {
            get { lock (_lock) return _proven.Count; }
        }

        public void Dispose() => _socket.Dispose();

        internal string Endpoint(string token, string name = "game", string mode = "preface") =>
            $"{{\"port_name\":\"{name}\",\"protocol\":\"udp\",\"host\":\"127.0.0.1\",\"port\":{Port}," +
            $"\"token_mode\":\"{mode}\",\"token\":\"{token}\"}}";

        private async void Serve()
        {
            while (true)
            {
                try
                {
                    var packet = await _socket.ReceiveAsync();
                    if (!IsDark) Answer(packet);
                }
                catch (ObjectDisposedException)
                {
                    return;
                }
                catch (SocketException)
                {
                    // The other side has closed its socket.
                }
            }
        }

        private void Answer(UdpReceiveResult packet)
        {
            var text = Encoding.ASCII.GetString(packet.Buffer);
            if (!text.StartsWith("MSTR"))
            {
                lock (_lock)
                    if (IsMute || !_proven.Contains(packet.RemoteEndPoint)) return;
                _socket.Send(packet.Buffer, packet.Buffer.Length, packet.RemoteEndPoint);
                return;
            }
            var token = text.Substring(6);
            lock (_lock) _tokens.Add(token);
            var said = Judge(token);
            if (said == null) return;
            if (said == 0)
                lock (_lock) _proven.Add(packet.RemoteEndPoint);
            var answer = said == 0
                ? new byte[] { 0x4D, 0x53, 0x54, 0x52, 1, 2 }
                : new byte[] { 0x4D, 0x53, 0x54, 0x52, 1, 3, (byte)said };
            _socket.Send(answer, answer.Length, packet.RemoteEndPoint);
        }
    }
}
