// The server's side against an agent that is away, late, or gone in the middle.

using System;
using System.Collections.Generic;
using System.Linq;
using NUnit.Framework;

namespace Muster.Tests
{
    public class ServerTests
    {
        private static GameServer Server(string url) => new GameServer(ServerEnvironment.Of(new Dictionary<string, string>
        {
            { "MUSTER_SDK_URL", url },
            { "MUSTER_SERVER_TOKEN", "secret" },
            { "MUSTER_SERVER_ID", "srv_1" },
            { "MUSTER_REGION", "local" },
            { "MUSTER_PORT_GAME_UDP", "7777" },
            { "MUSTER_PORT_BROKEN", "no" },
        }));

        [Test]
        public void TheEnvironmentIsRead()
        {
            using (var server = Server("http://127.0.0.1:1"))
            {
                Assert.IsTrue(server.UnderMuster);
                Assert.AreEqual("srv_1", server.Environment.ServerId);
                Assert.AreEqual(7777, server.Environment.Port("game-udp", 1));
                Assert.AreEqual(9, server.Environment.Port("broken", 9));
            }
        }

        [Test]
        public void OutsideOfMusterEveryCallSaysSo()
        {
            using (var server = new GameServer(ServerEnvironment.Of(new Dictionary<string, string>())))
            {
                Assert.IsFalse(server.UnderMuster);
                Waiting.Fails(MusterCodes.NotUnderMuster, () => server.ReadyAsync());
                Waiting.Fails(MusterCodes.NotUnderMuster, () => server.ConnectedAsync("seat_1"));
                server.Listen();
            }
        }

        [Test]
        public void AfterReadyTheAgentIsToldThatTheServerIsWell()
        {
            using (var agent = new FakeHost(call =>
            {
                Assert.AreEqual("Bearer secret", call.Headers["authorization"]);
                return call.Raw("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n");
            }))
            using (var server = Server(agent.Url))
            {
                Waiting.For(() => server.ReadyAsync());
                Waiting.Until("health was told", () => agent.Calls.Contains("POST /v1/health"));
                Assert.AreEqual("POST /v1/ready", agent.Calls[0]);
            }
        }

        [Test]
        public void AUdpPlayersAddressIsAskedForByTheirPort()
        {
            using (var agent = new FakeHost(call => call.Path == "/v1/players/41234"
                ? call.Say(200, "{\"address\":\"203.0.113.7:50321\"}")
                : call.Problem(404, "not_found", "no player plays from port 1 of this node")))
            using (var server = Server(agent.Url))
            {
                Assert.AreEqual("203.0.113.7:50321", Waiting.For(() => server.PlayerAddressAsync(41234)));
                Waiting.Fails("not_found", () => server.PlayerAddressAsync(1));
            }
        }

        [Test]
        public void NewsOfASeatMayComeAfterItsPlayer()
        {
            var tries = 0;
            using (var agent = new FakeHost(call => ++tries < 3
                ? call.Problem(409, "server_state", "seat_1 is no seat of this server")
                : call.Say(200, "{\"seat\":\"seat_1\",\"player\":\"ann\"}")))
            using (var server = Server(agent.Url))
            {
                var seat = Waiting.For(() => server.ConnectedAsync("seat_1"));
                Assert.AreEqual("ann", seat.Player);
                Assert.AreEqual(3, tries);
            }
        }

        [Test]
        public void ATokenThatIsRefusedIsNotSaidAgain()
        {
            using (var agent = new FakeHost(call => call.Problem(403, "forbidden", "session token: expired")))
            using (var server = Server(agent.Url))
            {
                Waiting.Fails("forbidden", () => server.ConnectedByTokenAsync("v4.public.x"));
                Assert.AreEqual(1, agent.Calls.Count);
            }
        }

        [Test]
        public void AnAgentThatStaysAwayEndsTheCall()
        {
            int port;
            using (var agent = new FakeHost(call => call.Silence())) port = agent.Port;
            using (var server = Server("http://127.0.0.1:" + port))
                Waiting.Fails(MusterCodes.Unreachable, () => server.ReadyAsync(TimeSpan.FromSeconds(1)));
        }

        [Test]
        public void WhatHappenedWhileNobodyListenedIsTold()
        {
            var connections = 0;
            using (var agent = new FakeHost(async call =>
            {
                call.IsOver = true;
                await call.Upgrade();
                if (++connections == 1)
                {
                    await call.Message("{\"type\":\"state\",\"state\":\"ready\",\"allocation\":null,\"draining\":false}");
                    await call.Message("{\"type\":\"of-tomorrow\"}");
                    await call.Message("{\"type\":\"allocated\",\"match_id\":\"m\",\"seats\":[{\"seat\":\"seat_1\"}]}");
                    await call.Message("this is no JSON");
                    return;
                }
                await call.Message(
                    "{\"type\":\"state\",\"state\":\"draining\",\"allocation\":{\"match_id\":\"m\",\"seats\":" +
                    "[{\"seat\":\"seat_1\"}]},\"draining\":true,\"drain_deadline_ms\":7}");
                await call.Message("{\"type\":\"draining\",\"deadline_ms\":7}");
                await call.Message("{\"type\":\"draining\",\"deadline_ms\":9}");
                await call.Silence();
            }))
            using (var server = Server(agent.Url))
            {
                var told = new List<string>();
                server.StateTold += view => told.Add("state " + view.State);
                server.Allocated += match => told.Add("allocated " + match.Seats.Single().Id);
                server.Draining += at => told.Add("draining " + at);
                server.Troubled += why => told.Add("trouble " + why.Code);
                server.Listen();
                Waiting.Until("all is told", () => told.Contains("draining 9"));
                CollectionAssert.AreEqual(
                    new[]
                    {
                        "state ready", "allocated seat_1", "trouble bad_answer", "state draining", "draining 7",
                        "draining 9",
                    }, told);
            }
        }
    }
}
