// Calls of the API, and every way in which one fails: each ends in time, with a code and a text.

using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using NUnit.Framework;

namespace Muster.Tests
{
    public class ApiTests
    {
        private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(400);

        private static MusterApi Api(string url, TimeSpan? timeout = null) => new MusterApi(
            new MusterOptions { Url = url, Token = "mst_test", CallTimeout = timeout ?? TimeSpan.FromSeconds(10) });

        private static void RegionsFail(string code, Func<FakeCall, Task> answer, TimeSpan? timeout = null)
        {
            using (var host = new FakeHost(answer))
            using (var api = Api(host.Url, timeout)) Waiting.Fails(code, () => api.RegionsAsync());
        }

        [Test]
        public void RegionsAreReadPageByPage()
        {
            using (var host = new FakeHost(call => call.Say(200, call.Query.Contains("after=a")
                       ? "{\"items\":[{\"name\":\"b\",\"served\":false,\"beacons\":[]}]}"
                       : "{\"items\":[{\"name\":\"a\",\"served\":true,\"beacons\":[{\"host\":\"h\",\"port\":7}]}],\"next\":\"a\"}")))
            using (var api = Api(host.Url))
            {
                var regions = Waiting.For(() => api.RegionsAsync());
                Assert.AreEqual(2, regions.Count);
                Assert.AreEqual("h", regions[0].Beacons[0].Host);
                Assert.IsFalse(regions[1].IsServed);
            }
        }

        [Test]
        public void AProblemIsHandedThrough()
        {
            using (var host = new FakeHost(call => call.Problem(429, "too_many", "slow down", "wait a little", 3)))
            using (var api = Api(host.Url))
            {
                var error = Waiting.Fails("too_many", () => api.RegionsAsync());
                Assert.AreEqual("Slow down. Wait a little.", error.Message);
                Assert.AreEqual(3, error.RetryAfterSeconds);
                Assert.AreEqual(429, error.Status);
                Assert.IsTrue(error.IsTransient);
            }
        }

        [Test]
        public void NobodyThere()
        {
            int port;
            using (var host = new FakeHost(call => call.Say(200, "{}"))) port = host.Port;
            using (var api = Api("http://127.0.0.1:" + port))
                Waiting.Fails(MusterCodes.Unreachable, () => api.RegionsAsync());
        }

        [Test]
        public void NoSuchHost()
        {
            using (var api = Api("http://no-such-host.invalid"))
                Waiting.Fails(MusterCodes.Unreachable, () => api.RegionsAsync());
        }

        [Test]
        public void SilenceEndsByTheDeadline() =>
            RegionsFail(MusterCodes.Timeout, call => call.Silence(), Short);

        [Test]
        public void AnAnswerThatNeverEndsEndsByTheDeadline() => RegionsFail(MusterCodes.Timeout, async call =>
        {
            await call.Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
            await call.Silence();
        }, Short);

        [Test]
        public void AnAnswerThatIsCutShort() => RegionsFail(MusterCodes.ConnectionLost, async call =>
        {
            await call.Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
            call.IsOver = true;
        });

        [TestCase("{\"items\":")]
        [TestCase("<html>")]
        [TestCase("")]
        [TestCase("[]")]
        [TestCase("{}")]
        [TestCase("{\"items\":7}")]
        public void AnAnswerThatIsNotTheApis(string body) =>
            RegionsFail(MusterCodes.BadAnswer, call => call.Say(200, body));

        [Test]
        public void AnErrorWithoutAProblem() =>
            RegionsFail(MusterCodes.BadAnswer, call => call.Say(502, "<html>bad gateway</html>", "text/html"));

        [Test]
        public void AnAnswerTooLarge() => RegionsFail(
            MusterCodes.BadAnswer, call => call.Say(200, "{\"items\":[],\"x\":\"" + new string('x', 2 << 20) + "\"}"));

        [Test]
        public void AnAnswerTooDeep() =>
            RegionsFail(MusterCodes.BadAnswer, call => call.Say(200, "{\"items\":" + new string('[', 9999)));

        [Test]
        public void NoHttpAtAll()
        {
            using (var host = new FakeHost(async call =>
            {
                await call.Raw("SSH-2.0-OpenSSH\r\n");
                call.IsOver = true;
            }))
            using (var api = Api(host.Url))
            {
                // Class libraries differ in what they make of this.
                var error = Assert.Throws<MusterException>(() => Waiting.For(() => api.RegionsAsync()));
                Assert.That(error.Code, Is.EqualTo(MusterCodes.BadAnswer).Or.EqualTo(MusterCodes.ConnectionLost));
            }
        }

        [Test]
        public void PlainHttpWhereTlsIsExpected()
        {
            using (var host = new FakeHost(call => call.Say(200, "{}")))
            using (var api = Api("https://127.0.0.1:" + host.Port, TimeSpan.FromSeconds(2)))
            {
                var error = Assert.Throws<MusterException>(() => Waiting.For(() => api.RegionsAsync()));
                // The fake waits for a request that never comes, or the handshake breaks off.
                Assert.That(error.Code, Is.EqualTo(MusterCodes.TlsUntrusted).Or.EqualTo(MusterCodes.Timeout)
                    .Or.EqualTo(MusterCodes.ConnectionLost));
            }
        }

        [TestCase("")]
        [TestCase("muster.example.com")]
        [TestCase("ftp://example.com")]
        [TestCase("http://")]
        public void AUrlThatIsNone(string url) => Assert.AreEqual(
            MusterCodes.InvalidArgument, Assert.Throws<MusterException>(() => Api(url)).Code);

        [Test]
        public void ATokenThatIsNone() => Assert.AreEqual(
            MusterCodes.InvalidArgument,
            Assert.Throws<MusterException>(() => new MusterApi(new MusterOptions { Token = "a\nb" })).Code);

        [Test]
        public void ARequestThatSaysTooLittleIsNotSent()
        {
            using (var host = new FakeHost(call => call.Say(200, "{}")))
            using (var api = Api(host.Url))
            {
                Waiting.Fails(MusterCodes.InvalidArgument, () => api.FindMatchAsync(new MatchRequest("q", "")));
                Waiting.Fails(MusterCodes.InvalidArgument, () => api.FindMatchAsync(new MatchRequest("", "ann")));
                Waiting.Fails(MusterCodes.InvalidArgument, () => api.JoinLobbyAsync("..", new JoinRequest("ann")));
                Assert.IsEmpty(host.Calls);
            }
        }

        [Test]
        public void ACallThatIsCancelledEndsAtOnce()
        {
            using (var host = new FakeHost(call => call.Silence()))
            using (var api = Api(host.Url))
            using (var stop = new CancellationTokenSource())
            {
                var call = Task.Run(() => api.RegionsAsync(null, stop.Token));
                Waiting.Until("the call is there", () => host.Calls.Count == 1);
                stop.Cancel();
                Assert.That(() => Waiting.For(() => call), Throws.InstanceOf<OperationCanceledException>());
            }
        }

        [Test]
        public void AClientThatIsClosedSaysSo()
        {
            var api = Api("http://127.0.0.1:1");
            api.Dispose();
            Waiting.Fails(MusterCodes.Closed, () => api.RegionsAsync());
        }

        [Test]
        public void ARequestWhoseAnswerWasLostIsTheSameRequestAgain()
        {
            string first = null, second = null;
            using (var host = new FakeHost(async call =>
            {
                if (first == null)
                {
                    first = call.Body;
                    await call.Raw("HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{");
                    call.IsOver = true;
                    return;
                }
                second = call.Body;
                await call.Say(201, "{\"id\":\"tkt_1\",\"state\":\"searching\",\"token\":\"t\"}");
            }))
            using (var api = Api(host.Url))
            {
                var request = new MatchRequest("q", "ann") { LatenciesMs = new System.Collections.Generic.Dictionary<string, int>() };
                request.Attributes.Set("skill", 1500).Set("maps", new[] { "ice" });
                var ticket = Waiting.For(() => api.FindMatchAsync(request));
                Assert.AreEqual("tkt_1", ticket.Id);
                Assert.AreEqual(first, second);
                var sent = JsonValue.Parse(second);
                Assert.That(sent["idempotency_key"].AsText(), Is.Not.Empty);
                Assert.AreEqual("{\"skill\":1500,\"maps\":[\"ice\"]}", sent["attributes"].ToString());
            }
        }

        [Test]
        public void RegionsAreMeasuredAndSilentOnesLeftOut()
        {
            using (var beacon = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0)))
            using (var silent = new UdpClient(new IPEndPoint(IPAddress.Loopback, 0)))
            {
                Echo(beacon);
                var items = $"{{\"items\":[{Region("near", beacon)},{Region("silent", silent)}]}}";
                using (var host = new FakeHost(call => call.Say(200, items)))
                using (var api = Api(host.Url))
                {
                    var latencies = Waiting.For(() => api.MeasureAsync());
                    Assert.AreEqual(new[] { "near" }, latencies.Keys);
                    Assert.That(latencies["near"], Is.InRange(0, 5000));
                }
            }
        }

        private static string Region(string name, UdpClient beacon) =>
            $"{{\"name\":\"{name}\",\"served\":true,\"beacons\":[{{\"host\":\"127.0.0.1\",\"port\":" +
            ((IPEndPoint)beacon.Client.LocalEndPoint).Port + "}]}";

        // Answers, each time with a packet of another's before it.
        private static async void Echo(UdpClient beacon)
        {
            try
            {
                while (true)
                {
                    var packet = await beacon.ReceiveAsync();
                    packet.Buffer[4] = 2;
                    await beacon.SendAsync(new byte[] { 1, 2, 3 }, 3, packet.RemoteEndPoint);
                    await beacon.SendAsync(packet.Buffer, packet.Buffer.Length, packet.RemoteEndPoint);
                }
            }
            catch (Exception)
            {
                // The test is over.
            }
        }
    }
}
