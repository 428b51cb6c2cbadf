// Connections to a server: proven, lost, and made anew to the same seat.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text;
using System.Threading.Tasks;
using NUnit.Framework;

namespace Muster.Tests
{
    public class SessionTests
    {
        private static readonly TimeSpan Long = TimeSpan.FromSeconds(10);

        // An orchestrator whose ticket is assigned; each reading has the endpoints that `endpoints` gives.
        private static FakeHost Host(Func<int, string[]> endpoints)
        {
            var readings = 0;
            return TicketTests.Host(async call =>
            {
                if (call.Path.EndsWith("/watch"))
                {
                    await call.Upgrade();
                    await call.Message(TicketTests.Assigned(endpoints(0)));
                    call.IsOver = true;
                    return;
                }
                await call.Say(200, TicketTests.Assigned(endpoints(++readings)));
            });
        }

        private static MatchTicket Ticket(MusterApi api)
        {
            var ticket = TicketTests.Find(api);
            Waiting.For(() => ticket.WaitAsync(Long));
            return ticket;
        }

        private static void Echoes(GameSession session, string text)
        {
            Waiting.For(() => session.SendAsync(text));
            Assert.AreEqual(text, Encoding.UTF8.GetString(Waiting.For(() => session.ReceiveAsync(Long))));
        }

        [Test]
        public void UdpIsProvenFromTheSocketThatPlays()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t" + reading) }))
            using (var api = TicketTests.Api(host))
            using (var session = Waiting.For(() => Ticket(api).ConnectAsync()))
            {
                Assert.AreEqual(Transport.Udp, session.Transport);
                Assert.AreEqual("seat_1", session.SeatId);
                Echoes(session, "hello");
                CollectionAssert.AreEqual(new[] { "t0" }, edge.Tokens);
            }
        }

        [Test]
        public void NotPossibleNowIsTriedAgainAndSilenceToo()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                edge.Judge = token => edge.Tokens.Count == 1 ? null : edge.Tokens.Count == 2 ? 5 : (int?)0;
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync())) Echoes(session, "hello");
            }
        }

        [Test]
        public void AnExpiredTokenIsReadAgainOnce()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t" + reading) }))
            using (var api = TicketTests.Api(host))
            {
                edge.Judge = token => token == "t0" ? 3 : 0;
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync())) Echoes(session, "hello");
                edge.Judge = token => 3;
                var ticket = Ticket(api);
                Waiting.Fails(MusterCodes.RefusedExpired, () => ticket.ConnectAsync());
            }
        }

        [TestCase(1, MusterCodes.RefusedMalformed)]
        [TestCase(2, MusterCodes.RefusedUntrusted)]
        [TestCase(4, MusterCodes.RefusedWrongPort)]
        public void ARefusalEndsTheCallAtOnce(int reason, string code)
        {
            using (var edge = new FakeEdge { Judge = token => reason })
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                var ticket = Ticket(api);
                Waiting.Fails(code, () => ticket.ConnectAsync());
            }
        }

        [Test]
        public void AnEdgeThatIsSilentEndsByTheDeadline()
        {
            using (var edge = new FakeEdge { IsDark = true })
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                var ticket = Ticket(api);
                Waiting.Fails(MusterCodes.Timeout, () => ticket.ConnectAsync(null, TimeSpan.FromMilliseconds(500)));
                edge.IsDark = false;
                edge.Judge = token => 5;
                Waiting.Fails(
                    MusterCodes.RefusedUnavailable, () => ticket.ConnectAsync(null, TimeSpan.FromMilliseconds(500)));
            }
        }

        [Test]
        public void TheNextEdgeIsTakenIfTheFirstIsDead()
        {
            using (var dead = new FakeEdge { IsDark = true })
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { dead.Endpoint("t"), edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            using (var session = Waiting.For(() => Ticket(api).ConnectAsync(null, TimeSpan.FromSeconds(4))))
            {
                Assert.AreEqual(edge.Port, session.Endpoint.Port);
                Echoes(session, "hello");
            }
        }

        [Test]
        public void ASocketThatIsGoneIsReplacedWithANewToken()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t" + reading) }))
            using (var api = TicketTests.Api(host))
            using (var session = Waiting.For(() => Ticket(api).ConnectAsync()))
            {
                var told = new List<string>();
                session.Lost += why => told.Add(why.Code);
                session.Rejoined += () => told.Add("rejoined");
                Echoes(session, "before");
                session.Reconnect();
                Waiting.Until("it is back", () => told.Contains("rejoined"));
                CollectionAssert.AreEqual(new[] { MusterCodes.ConnectionLost, "rejoined" }, told);
                Echoes(session, "after");
                Assert.AreEqual(2, edge.ProvenSockets);
                CollectionAssert.AreEqual(new[] { "t0", "t1" }, edge.Tokens.Distinct());
            }
        }

        [Test]
        public void APathThatDiesInSilenceIsNoticedAndAnotherEdgeTaken()
        {
            using (var first = new FakeEdge())
            using (var second = new FakeEdge())
            using (var host = Host(reading => new[] { first.Endpoint("t"), second.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync()))
                {
                    Echoes(session, "before");
                    var isBack = false;
                    session.Rejoined += () => isBack = true;
                    first.IsDark = true;
                    var gone = Stopwatch.StartNew();
                    Waiting.For(() => session.SendAsync("lost"));
                    Waiting.Until("it is back", () => isBack);
                    Assert.AreEqual(second.Port, session.Endpoint.Port);
                    Echoes(session, "after");
                    Console.WriteLine($"first answer by another edge: {gone.ElapsedMilliseconds} ms after the first fell silent");
                }
            }
        }

        [Test]
        public void AnotherEdgeIsTakenThoughTheOrchestratorIsAway()
        {
            var isAway = false;
            using (var first = new FakeEdge())
            using (var second = new FakeEdge())
            using (var host = TicketTests.Host(async call =>
            {
                if (isAway) await call.Silence();
                else await call.Say(200, TicketTests.Assigned(first.Endpoint("t"), second.Endpoint("t")));
            }))
            using (var api = TicketTests.Api(host))
            using (var session = Waiting.For(() => Ticket(api).ConnectAsync()))
            {
                var isBack = false;
                session.Rejoined += () => isBack = true;
                isAway = true;
                first.IsDark = true;
                var gone = Stopwatch.StartNew();
                Waiting.For(() => session.SendAsync("lost"));
                Waiting.Until("it is back", () => isBack);
                Assert.AreEqual(second.Port, session.Endpoint.Port);
                Echoes(session, "after");
                Console.WriteLine($"the same without an orchestrator: {gone.ElapsedMilliseconds} ms");
            }
        }

        [Test]
        public void AQuietPathThatLivesIsLeftAlone()
        {
            using (var edge = new FakeEdge { IsMute = true })
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                var options = new ConnectOptions { SilenceTimeout = TimeSpan.FromMilliseconds(200) };
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync(options)))
                {
                    var isLost = false;
                    session.Lost += why => isLost = true;
                    // The server gets what the player sends, and has nothing to say: the edge vouches for the path.
                    Waiting.For(() => session.SendAsync("hello"));
                    Waiting.Until("the path was looked at", () => edge.Tokens.Count(token => token == "t") >= 2);
                    Assert.IsFalse(isLost);
                    Assert.AreEqual(SessionState.Connected, session.State);
                }
            }
        }

        [Test]
        public void WhatCannotBeMadeAnewIsGivenUpWithItsReason()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t" + reading) }))
            using (var api = TicketTests.Api(host))
            using (var session = Waiting.For(() => Ticket(api).ConnectAsync()))
            {
                MusterException failed = null;
                session.Failed += why => failed = why;
                edge.Judge = token => 4;
                session.Reconnect();
                Waiting.Until("it is given up", () => failed != null);
                Assert.AreEqual(MusterCodes.RefusedWrongPort, failed.Code);
                Assert.AreEqual(SessionState.Closed, session.State);
                Waiting.Fails(MusterCodes.RefusedWrongPort, () => session.ReceiveAsync(Long));
                Waiting.Fails(MusterCodes.RefusedWrongPort, () => session.SendAsync("late"));
            }
        }

        [Test]
        public void ASessionThatWasClosedSaysSo()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                var session = Waiting.For(() => Ticket(api).ConnectAsync());
                var receiving = Task.Run(() => session.ReceiveAsync(Long));
                Waiting.For(() => session.CloseAsync());
                Waiting.Fails(MusterCodes.Closed, () => receiving);
                Waiting.Fails(MusterCodes.Closed, () => session.SendAsync("late"));
            }
        }

        [Test]
        public void APortThatIsNotThereIsNamedWithThoseThatAre()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t") }))
            using (var api = TicketTests.Api(host))
            {
                var ticket = Ticket(api);
                var error = Waiting.Fails(MusterCodes.NoEndpoint,
                    () => ticket.ConnectAsync(new ConnectOptions { PortName = "voice" }));
                StringAssert.Contains("game (udp)", error.Message);
                Waiting.Fails(MusterCodes.NoEndpoint,
                    () => ticket.ConnectAsync(new ConnectOptions { Transport = Transport.WebSocket }));
            }
        }

        [Test]
        public void AClaimIsMadeForAnEngineThatHidesItsSocket()
        {
            using (var edge = new FakeEdge())
            using (var host = Host(reading => new[] { edge.Endpoint("t", "game", "claim"), edge.Endpoint("t", "raw") }))
            using (var api = TicketTests.Api(host))
            {
                var ticket = Ticket(api);
                Assert.AreEqual(edge.Port, Waiting.For(() => ticket.ClaimAsync("game")).Port);
                var error = Waiting.Fails(MusterCodes.Unsupported, () => ticket.ClaimAsync("raw"));
                StringAssert.Contains("claim", error.Message);
            }
        }

        [Test]
        public void WebSocketIsTakenWhereUdpDoesNotGetThrough()
        {
            using (var edge = new FakeEdge { IsDark = true })
            using (var server = new FakeHost(async call =>
            {
                await call.Upgrade();
                await call.Message("welcome " + call.Query);
                await call.Silence();
            }))
            {
                var ws = WebEndpoint(server.Port);
                using (var host = Host(reading => new[] { edge.Endpoint("t"), ws }))
                using (var api = TicketTests.Api(host))
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync(null, TimeSpan.FromSeconds(4))))
                {
                    Assert.AreEqual(Transport.WebSocket, session.Transport);
                    Assert.AreEqual("welcome token=t",
                        Encoding.UTF8.GetString(Waiting.For(() => session.ReceiveAsync(Long))));
                }
            }
        }

        [TestCase(401, MusterCodes.RefusedUntrusted)]
        [TestCase(403, MusterCodes.RefusedWrongPort)]
        [TestCase(503, MusterCodes.RefusedUnavailable)]
        [TestCase(200, MusterCodes.BadAnswer)]
        public void ARefusedWebSocketHasACode(int status, string code)
        {
            using (var server = new FakeHost(call => call.Say(status, "why", "text/plain")))
            {
                var ws = WebEndpoint(server.Port);
                using (var host = Host(reading => new[] { ws }))
                using (var api = TicketTests.Api(host))
                {
                    var ticket = Ticket(api);
                    Waiting.Fails(code, () => ticket.ConnectAsync(null, TimeSpan.FromMilliseconds(900)));
                }
            }
        }

        [Test]
        public void AServerThatTakesNothingMoreEndsTheConnection()
        {
            var over = new TaskCompletionSource<bool>();
            using (var server = new FakeHost(async call =>
            {
                await call.Upgrade();
                await over.Task;
            }))
            using (var host = Host(reading => new[] { WebEndpoint(server.Port) }))
            using (var api = TicketTests.Api(host))
            {
                var options = new ConnectOptions { Rejoin = false, SendTimeout = TimeSpan.FromMilliseconds(300) };
                using (var session = Waiting.For(() => Ticket(api).ConnectAsync(options, Long)))
                {
                    var much = new ArraySegment<byte>(new byte[1024 * 1024]);
                    var error = Waiting.Fails(MusterCodes.ConnectionLost, async () =>
                    {
                        while (true) await session.SendAsync(much);
                    });
                    StringAssert.Contains("took no message", error.Message);
                }
                over.SetResult(true);
            }
        }

        [Test]
        public void AWebSocketWhereNoEdgeListensIsTold()
        {
            using (var host = Host(reading => new[] { WebEndpoint(1) }))
            using (var api = TicketTests.Api(host))
            {
                var ticket = Ticket(api);
                Waiting.Fails(MusterCodes.Unreachable, () => ticket.ConnectAsync(null, TimeSpan.FromMilliseconds(900)));
            }
        }

        private static string WebEndpoint(int port) =>
            $"{{\"port_name\":\"web\",\"protocol\":\"ws\",\"host\":\"127.0.0.1\",\"port\":{port}," +
            $"\"url\":\"ws://127.0.0.1:{port}/?token=t\",\"token_mode\":\"preface\",\"token\":\"t\"}}";
    }
}
