// A ticket is followed to its end, whatever the connection does meanwhile.

using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using NUnit.Framework;

namespace Muster.Tests
{
    public class TicketTests
    {
        private static readonly TimeSpan Long = TimeSpan.FromSeconds(15);

        internal static string Json(string state, string explanation = "", string rest = "") =>
            $"{{\"id\":\"tkt_1\",\"queue\":\"q\",\"player\":\"ann\",\"state\":\"{state}\"," +
            $"\"explanation\":\"{explanation}\",\"created_at_ms\":1{rest}}}";

        internal static string Assigned(params string[] endpoints) => Json("assigned", "plays",
            ",\"assignment\":{\"match_id\":\"match_1\",\"server_id\":\"srv_1\",\"region\":\"local\"," +
            $"\"seat_id\":\"seat_1\",\"endpoints\":[{string.Join(",", endpoints)}]}}");

        // An orchestrator with one ticket; `rest` answers all but its making.
        internal static FakeHost Host(Func<FakeCall, Task> rest) => new FakeHost(call =>
            call.Method == "POST" && call.Path == "/v1/tickets"
                ? call.Say(201, Json("searching", "waits for others", ",\"token\":\"ticket-token\""))
                : rest(call));

        internal static MusterApi Api(FakeHost host) => new MusterApi(new MusterOptions { Url = host.Url, Token = "mst_x" });

        internal static MatchTicket Find(MusterApi api) => Waiting.For(() => api.FindMatchAsync(
            new MatchRequest("q", "ann") { LatenciesMs = new Dictionary<string, int> { { "local", 1 } } }));

        [Test]
        public void ProgressIsToldWithItsReasonsUntilItIsAssigned()
        {
            string token = null;
            using (var host = Host(async call =>
            {
                token = call.Headers["authorization"];
                await call.Upgrade();
                await call.Message(Json("searching", "waits for others"));
                await call.Message(Json("searching", "waits for a server"));
                await call.Message(Json("matched", "a server starts"));
                await call.Message(Assigned());
                call.IsOver = true;
            }))
            using (var api = Api(host))
            {
                var ticket = Find(api);
                var told = new List<string>();
                ticket.Progressed += now => told.Add(now.State + " " + now.Explanation);
                Assert.AreEqual("seat_1", Waiting.For(() => ticket.WaitAsync(Long)).SeatId);
                Assert.AreEqual(
                    new[] { "Searching waits for a server", "Matched a server starts", "Assigned plays" }, told);
                Assert.AreEqual("Bearer ticket-token", token, "the ticket's own token is enough");
            }
        }

        [Test]
        public void AWatchThatBreaksIsMadeAnew()
        {
            var watches = 0;
            using (var host = Host(async call =>
            {
                if (!call.Path.EndsWith("/watch"))
                {
                    await call.Say(200, Json("searching", "polled"));
                    return;
                }
                call.IsOver = true;
                watches++;
                if (watches == 1) return;
                await call.Upgrade();
                // Half a frame, and gone.
                if (watches == 2) await call.Raw("\u0001\u0005a");
                else await call.Message(Assigned());
            }))
            using (var api = Api(host))
            {
                Waiting.For(() => Find(api).WaitAsync(Long));
                Assert.AreEqual(3, watches);
            }
        }

        [Test]
        public void WhereNoWebSocketGetsThroughPollsDo()
        {
            var polls = 0;
            using (var host = Host(call => call.Path.EndsWith("/watch") ? call.Say(426, "no", "text/plain")
                : call.Say(200, ++polls < 3 ? Json("searching", "poll " + polls) : Assigned())))
            using (var api = Api(host))
            {
                Waiting.For(() => Find(api).WaitAsync(Long));
                Assert.AreEqual(3, polls);
            }
        }

        [TestCase("failed", MusterCodes.MatchFailed)]
        [TestCase("expired", MusterCodes.MatchExpired)]
        [TestCase("cancelled", MusterCodes.MatchCancelled)]
        public void AnEndThatIsNoMatchHasItsCodeAndReason(string state, string code)
        {
            using (var host = Host(async call =>
            {
                await call.Upgrade();
                await call.Message(Json(state, "the fleet has no build"));
                await call.Silence();
            }))
            using (var api = Api(host))
            {
                var ticket = Find(api);
                var error = Waiting.Fails(code, () => ticket.WaitAsync(Long));
                StringAssert.Contains("The fleet has no build.", error.Message);
            }
        }

        [Test]
        public void AWaitEndsByItsDeadlineAndTheTicketSearchesOn()
        {
            var isFound = false;
            using (var host = Host(async call =>
            {
                await call.Upgrade();
                await call.Message(isFound ? Assigned() : Json("searching", "waits for others"));
                await call.Silence();
            }))
            using (var api = Api(host))
            {
                var ticket = Find(api);
                var error = Waiting.Fails(MusterCodes.Timeout, () => ticket.WaitAsync(TimeSpan.FromMilliseconds(300)));
                StringAssert.Contains("Waits for others.", error.Message);
                isFound = true;
                Waiting.For(() => ticket.WaitAsync(Long));
            }
        }

        [Test]
        public void AnOrchestratorThatIsAwayForAMomentIsNoEnd()
        {
            var calls = 0;
            using (var host = Host(async call =>
            {
                if (++calls < 4)
                {
                    await call.Problem(503, "store_unavailable", "no store");
                    return;
                }
                await call.Upgrade();
                await call.Message(Assigned());
            }))
            using (var api = Api(host)) Waiting.For(() => Find(api).WaitAsync(Long));
        }

        [Test]
        public void ATicketThatIsNotThereAnyMoreEndsTheWait()
        {
            using (var host = Host(call => call.Problem(404, "ticket_unknown", "no such ticket", "ask again")))
            using (var api = Api(host))
            {
                var ticket = Find(api);
                Waiting.Fails("ticket_unknown", () => ticket.WaitAsync(Long));
            }
        }

        [Test]
        public void AnAnswerThatIsNoTicketIsTold()
        {
            using (var host = new FakeHost(call => call.Say(201, "{\"state\":\"searching\"}")))
            using (var api = Api(host))
                Waiting.Fails(MusterCodes.BadAnswer, () => api.JoinLobbyAsync("KQXBTZ", new JoinRequest("ann")));
        }
    }
}
