// A container that stands in for a server in the editor: players come to it, and play on the other.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using NUnit.Framework;

namespace Muster.Tests
{
    public class StandInTests
    {
        // A port that is free by UDP and by TCP.
        private static int FreePort()
        {
            while (true)
            {
                var listener = new TcpListener(IPAddress.Any, 0);
                listener.Start();
                var port = ((IPEndPoint)listener.LocalEndpoint).Port;
                try
                {
                    new UdpClient(port, AddressFamily.InterNetwork).Dispose();
                    return port;
                }
                catch (SocketException)
                {
                    // Somebody has it by UDP; another.
                }
                finally
                {
                    listener.Stop();
                }
            }
        }

        private static string Hear(UdpClient socket)
        {
            var packet = Waiting.For(() => socket.ReceiveAsync());
            return System.Text.Encoding.ASCII.GetString(packet.Buffer);
        }

        private static void Say(UdpClient socket, string text)
        {
            var bytes = System.Text.Encoding.ASCII.GetBytes(text);
            socket.Send(bytes, bytes.Length);
        }

        [Test]
        public void PlayersByUdpAreToldApartAndAnswered()
        {
            var outside = FreePort();
            using (var platform = new NetPlatform())
            using (var server = new UdpClient(0, AddressFamily.InterNetwork))
            using (var standIn = new StandIn(platform, "127.0.0.1"))
            using (var ann = new UdpClient("127.0.0.1", outside))
            using (var bob = new UdpClient("127.0.0.1", outside))
            {
                standIn.Open(outside, ((IPEndPoint)server.Client.LocalEndPoint).Port);
                var peers = new HashSet<string>();
                foreach (var player in new[] { ann, bob, ann })
                {
                    Say(player, "hello");
                    var packet = Waiting.For(() => server.ReceiveAsync());
                    peers.Add(packet.RemoteEndPoint.ToString());
                    var answer = System.Text.Encoding.ASCII.GetBytes(packet.RemoteEndPoint.Port.ToString());
                    server.Send(answer, answer.Length, packet.RemoteEndPoint);
                    Assert.AreEqual(packet.RemoteEndPoint.Port.ToString(), Hear(player));
                }
                Assert.AreEqual(2, peers.Count, "each player has one port of their own");
            }
        }

        [Test]
        public void AConnectionIsPassedOnWholeAndItsEndToo()
        {
            var outside = FreePort();
            var server = new TcpListener(IPAddress.Loopback, 0);
            server.Start();
            using (var platform = new NetPlatform())
            using (var standIn = new StandIn(platform, "127.0.0.1"))
            {
                standIn.Open(outside, ((IPEndPoint)server.LocalEndpoint).Port);
                using (var player = new TcpClient("127.0.0.1", outside))
                {
                    var inside = Waiting.For(() => server.AcceptTcpClientAsync());
                    var much = Enumerable.Range(0, 200000).Select(number => (byte)number).ToArray();
                    var sent = Task.Run(() =>
                    {
                        inside.GetStream().Write(much, 0, much.Length);
                        inside.Dispose();
                    });
                    var heard = new MemoryStream();
                    Waiting.For(() => player.GetStream().CopyToAsync(heard));
                    Waiting.For(() => sent);
                    CollectionAssert.AreEqual(much, heard.ToArray());
                }
            }
            server.Stop();
        }

        [Test]
        public void WhereNobodyListensAConnectionEnds()
        {
            int outside = FreePort(), nobody = FreePort();
            using (var platform = new NetPlatform())
            using (var standIn = new StandIn(platform, "127.0.0.1"))
            {
                standIn.Open(outside, nobody);
                using (var player = new TcpClient("127.0.0.1", outside))
                    Assert.AreEqual(0, Waiting.For(() => player.GetStream().ReadAsync(new byte[1], 0, 1)));
            }
        }

        [Test]
        public void TheAgentHearsOfItBeforeItsPortsListen()
        {
            var port = FreePort();
            var wasOpen = true;
            using (var agent = new FakeHost(call =>
            {
                wasOpen = IsOpen(port);
                return call.Say(200, "{\"id\":\"srv_1\",\"state\":\"starting\"}");
            }))
            using (var stop = new CancellationTokenSource())
            {
                var running = Task.Run(() => StandIn.RunAsync(Environment(agent.Url, port), stop.Token));
                Waiting.Until("its ports listen", () => IsOpen(port));
                Assert.IsFalse(wasOpen, "a server that never spoke would be ready by its ports");
                CollectionAssert.AreEqual(new[] { "GET /v1/server" }, agent.Calls);
                stop.Cancel();
                Assert.Throws<TaskCanceledException>(() => Waiting.For(() => running));
            }
        }

        [Test]
        public void AnOrdinaryServerStandsInForNobody()
        {
            var environment = ServerEnvironment.Of(new Dictionary<string, string> { { "MUSTER_SDK_URL", "http://127.0.0.1:1" } });
            Assert.IsFalse(environment.IsStandIn);
            Waiting.Fails(MusterCodes.InvalidArgument, () => StandIn.RunAsync(environment));
        }

        private static ServerEnvironment Environment(string url, int port) =>
            ServerEnvironment.Of(new Dictionary<string, string>
            {
                { "MUSTER_SDK_URL", url },
                { "MUSTER_SERVER_TOKEN", "secret" },
                { "MUSTER_PORT_GAME_UDP", port.ToString() },
                { ServerEnvironment.StandInVariable, "1" },
            });

        private static bool IsOpen(int port)
        {
            try
            {
                new TcpClient("127.0.0.1", port).Dispose();
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        }
    }
}
