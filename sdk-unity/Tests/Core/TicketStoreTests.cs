// The client remembers its players' last tickets, and shows them with what it asks next.

using System;
using System.Collections.Generic;
using Muster.Json;
using NUnit.Framework;

namespace Muster.Tests
{
    public class TicketStoreTests
    {
        private MemoryTicketStore _store;

        [SetUp]
        public void ForgetEverything()
        {
            _store = new MemoryTicketStore();
        }

        // An orchestrator whose tickets have the tokens t1, t2, ..., and that keeps what it was asked.
        private static FakeHost Host(List<JsonValue> asked) => new FakeHost(call =>
        {
            if (call.Method == "DELETE") return call.Say(200, "{}");
            lock (asked)
            {
                asked.Add(JsonValue.Parse(call.Body));
                return call.Say(201, TicketTests.Json("searching", "", $",\"token\":\"t{asked.Count}\""));
            }
        });

        private MusterApi Api(FakeHost host) =>
            new MusterApi(new MusterOptions { Url = host.Url, Token = "mst_x", Tickets = _store });

        private static MatchRequest Request(string player = "ann") =>
            new MatchRequest("q", player) { LatenciesMs = new Dictionary<string, int> { { "local", 1 } } };

        private static MatchTicket Find(MusterApi api, MatchRequest request) =>
            Waiting.For(() => api.FindMatchAsync(request));

        private static string[] Shown(JsonValue asked) => asked["previous_tokens"].AsTexts().ToArray();

        [Test]
        public void AGameThatWasStartedAnewShowsItsLastTicket()
        {
            var asked = new List<JsonValue>();
            using (var host = Host(asked))
            {
                using (var api = Api(host)) Find(api, Request());
                using (var api = Api(host))
                {
                    Find(api, Request());
                    Find(api, Request("bob"));
                    Waiting.For(() => api.JoinLobbyAsync("ABC123", new JoinRequest("ann")));
                    Waiting.For(() => api.CreateLobbyAsync(new CreateLobbyRequest("arena", "ann")));
                }
            }
            Assert.IsTrue(asked[0]["previous_tokens"].IsNull, "there is none yet");
            Assert.AreEqual(new[] { "t1" }, Shown(asked[1]));
            Assert.IsTrue(asked[2]["previous_tokens"].IsNull, "another player's is not shown");
            Assert.AreEqual(new[] { "t2" }, Shown(asked[3]), "a lobby is come back to as well");
            Assert.IsTrue(asked[4]["previous_tokens"].IsNull, "a new lobby has no seats to come back to");
        }

        [Test]
        public void TokensThatAreGivenAreShownInstead()
        {
            var asked = new List<JsonValue>();
            using (var host = Host(asked))
            using (var api = Api(host))
            {
                Find(api, Request());
                var request = Request();
                request.PreviousTokens.Add("the party's");
                Find(api, request);
            }
            Assert.AreEqual(new[] { "the party's" }, Shown(asked[1]));
        }

        [Test]
        public void ATicketThatWasWithdrawnIsForgottenButNotALaterOne()
        {
            var asked = new List<JsonValue>();
            using (var host = Host(asked))
            using (var api = Api(host))
            {
                var first = Find(api, Request());
                var second = Find(api, Request());
                Waiting.For(() => first.CancelAsync());
                Find(api, Request());
                Waiting.For(() => second.CancelAsync());
                Waiting.For(() => Find(api, Request()).CancelAsync());
                Find(api, Request());
            }
            Assert.AreEqual(new[] { "t2" }, Shown(asked[2]));
            Assert.AreEqual(new[] { "t3" }, Shown(asked[3]));
            Assert.IsTrue(asked[4]["previous_tokens"].IsNull, "all were withdrawn");
        }

        [Test]
        public void AnotherOrchestratorIsNotShownIt()
        {
            var asked = new List<JsonValue>();
            using (var host = Host(asked))
            using (var other = Host(asked))
            {
                using (var api = Api(host)) Find(api, Request());
                using (var api = Api(other)) Find(api, Request());
            }
            Assert.IsTrue(asked[1]["previous_tokens"].IsNull);
        }

        [Test]
        public void ATextThatIsNoneOfOursCountsForNothing()
        {
            var asked = new List<JsonValue>();
            foreach (var text in new[] { "half of {", "7", "[1, null, {\"player\": 7}]" })
            {
                _store.Save(text);
                using (var host = Host(asked))
                using (var api = Api(host)) Find(api, Request());
                Assert.IsTrue(asked[asked.Count - 1]["previous_tokens"].IsNull, text);
            }
        }

        [Test]
        public void OfManyPlayersThoseWhoAskedLastAreRemembered()
        {
            var memory = new TicketMemory(_store, "http://here/");
            for (var player = 0; player <= TicketMemory.MaxPlayers; player++)
                memory.Remember("player " + player, "token " + player);
            Assert.IsNull(memory.TokenOf("player 0"));
            for (var player = 1; player <= TicketMemory.MaxPlayers; player++)
                Assert.AreEqual("token " + player, memory.TokenOf("player " + player));
        }
    }
}
