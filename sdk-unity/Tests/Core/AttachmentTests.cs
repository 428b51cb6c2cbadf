// Attaching a project to the stack, against programs that say what a test wants.

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Muster.Editor;
using Muster.Net;
using NUnit.Framework;

namespace Muster.Tests
{
    public class AttachmentTests
    {
        private const string Fleet = "name = \"my-game\"\nmax_players = 8\n\n[regions.local]\nwarm = 3\nmax = 4\n";
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

        private string _project;
        private FakePrograms _programs;
        private readonly List<string> _shown = new List<string>();

        [SetUp]
        public void MakeProject()
        {
            _project = Path.Combine(Path.GetTempPath(), "muster-" + Guid.NewGuid().ToString("N"));
            System.IO.Directory.CreateDirectory(_project);
            File.WriteAllText(Path.Combine(_project, Attachment.FleetFileName), Fleet);
            _programs = new FakePrograms();
            _shown.Clear();
        }

        [TearDown]
        public void RemoveProject() => System.IO.Directory.Delete(_project, true);

        private IReadOnlyDictionary<string, string> Attach(TimeSpan patience) => Waiting.For(async () =>
        {
            using (var platform = new NetPlatform())
                return await new Attachment(_project, "muster", _programs, platform, _shown.Add).AttachAsync(patience);
        });

        [Test]
        public void OneServerOfTheFleetStandsIn()
        {
            Assert.AreEqual("my-game", FleetFile.NameIn(Fleet));
            Assert.AreEqual(
                Fleet.Replace("warm = 3", "warm = 1") + "\n[env]\nSTAND_IN_OF_MUSTER = \"1\"\n", FleetFile.Attached(Fleet));
            Assert.AreEqual(FleetFile.Attached(Fleet), FleetFile.Attached(Fleet.Replace("\n", "\r\n")));
        }

        [Test]
        public void AnEnvironmentThatIsThereStays()
        {
            var attached = FleetFile.Attached(Fleet + "[env]\nMAP = \"dust\"\n");
            StringAssert.EndsWith("[env]\nSTAND_IN_OF_MUSTER = \"1\"\nMAP = \"dust\"\n", attached);
        }

        [Test]
        public void TheProjectGetsTheVariablesOfTheContainerThatStandsIn()
        {
            _programs.Says("--json server ls", "[{\"id\":\"srv_old\"},{\"id\":\"srv_new\"}]");
            _programs.Says("muster-srv_old", "PATH=/bin\nMUSTER_SERVER_ID=srv_old\n");
            _programs.Says("muster-srv_new", "PATH=/bin\nSTAND_IN_OF_MUSTER=1\nMUSTER_SERVER_ID=srv_new\nMUSTER_SERVER_TOKEN=a=b\n");
            var variables = Attach(Patience);
            Assert.AreEqual(
                "MUSTER_SERVER_ID=srv_new MUSTER_SERVER_TOKEN=a=b",
                string.Join(" ", variables.Select(variable => variable.Key + "=" + variable.Value).ToArray()));
            StringAssert.Contains("attached-fleet.toml", _programs.Calls[0]);
            Assert.AreEqual(
                FleetFile.Attached(Fleet), File.ReadAllText(Path.Combine(_project, ".muster", "attached-fleet.toml")));
            StringAssert.Contains("--fleet my-game --state starting", _programs.Calls[1]);
        }

        [Test]
        public void IfNoneStandsInTheFleetIsAsItsFileSays()
        {
            _programs.Says("--json server ls", "[]");
            var error = Waiting.Fails(MusterCodes.Timeout, () => Task.Run(() => Attach(TimeSpan.FromMilliseconds(1))));
            StringAssert.Contains("Deploy the server first", error.Message);
            StringAssert.EndsWith(Attachment.FleetFileName + "\"", _programs.Calls.Last());
        }

        [Test]
        public void AProjectWithoutAFleetIsToldToDeploy()
        {
            File.Delete(Path.Combine(_project, Attachment.FleetFileName));
            var error = Waiting.Fails(MusterCodes.InvalidArgument, () => Task.Run(() => Attach(Patience)));
            StringAssert.Contains("Deploy the server once", error.Message);
            CollectionAssert.IsEmpty(_programs.Calls);
        }

        [Test]
        public void WhatCannotBeChangedIsSaid()
        {
            foreach (var text in new[] { "env = { MAP = \"dust\" }\n" + Fleet, "[[ports]]\nname = \"game-udp\"\n" })
            {
                File.WriteAllText(Path.Combine(_project, Attachment.FleetFileName), text);
                Waiting.Fails(MusterCodes.InvalidArgument, () => Task.Run(() => Attach(Patience)));
            }
            CollectionAssert.IsEmpty(_programs.Calls);
        }

        [Test]
        public void AStackThatIsDownIsTold()
        {
            _programs.Fails("fleet apply");
            var error = Waiting.Fails(MusterCodes.BadAnswer, () => Task.Run(() => Attach(Patience)));
            StringAssert.Contains("Is the local stack up?", error.Message);
        }

        [Test]
        public void JsonThatIsNotEndsIt()
        {
            _programs.Says("--json server ls", "servers: 1");
            Waiting.Fails(MusterCodes.BadAnswer, () => Task.Run(() => Attach(Patience)));
            StringAssert.EndsWith(Attachment.FleetFileName + "\"", _programs.Calls.Last());
        }

        [Test]
        public void TheStackSaysInItsFilesHowItIsReached()
        {
            Assert.IsNull(LocalStack.Of(_project));
            var directory = System.IO.Directory.CreateDirectory(Path.Combine(_project, LocalStack.Directory)).FullName;
            File.WriteAllText(Path.Combine(directory, "client.toml"), "url = \"http://127.0.0.1:7411\"\ntoken = \"mst_admin\"\n");
            Assert.IsNull(LocalStack.Of(_project));
            File.WriteAllText(Path.Combine(directory, "client-token"), "mst_client\n");
            Assert.AreEqual("http://127.0.0.1:7411", LocalStack.Of(_project).Url);
            Assert.AreEqual("mst_client", LocalStack.Of(_project).ClientToken);
        }

        [Test]
        public void AProgramThatIsNotThereIsNamed()
        {
            var programs = new Programs(_project);
            var end = Waiting.For(() => programs.RunAsync("no-such-program", "dev", Patience, _shown.Add));
            Assert.IsFalse(end.IsWell);
            StringAssert.Contains("no-such-program cannot be started", _shown.Single());
        }

        [Test]
        public void AProgramRunsInTheProjectAndItsOutputIsKept()
        {
            var end = Waiting.For(() => new Programs(_project).RunAsync("/bin/ls", "-1", Patience, _shown.Add));
            Assert.IsTrue(end.IsWell);
            Assert.AreEqual(Attachment.FleetFileName + "\n", end.Output);
            Assert.AreEqual(Attachment.FleetFileName, _shown.Single());
        }

        [Test]
        public void AProgramThatHangsIsEnded()
        {
            var end = Waiting.For(() =>
                new Programs(_project).RunAsync("/bin/sleep", "600", TimeSpan.FromMilliseconds(50), _shown.Add));
            Assert.IsFalse(end.IsWell);
            StringAssert.Contains("did not end", _shown.Single());
        }

        private sealed class FakePrograms : IPrograms
        {
            private readonly Dictionary<string, ProgramEnd> _ends = new Dictionary<string, ProgramEnd>();

            internal readonly List<string> Calls = new List<string>();

            internal void Says(string words, string output) => _ends[words] = new ProgramEnd(true, output);

            internal void Fails(string words) => _ends[words] = new ProgramEnd(false, string.Empty);

            public Task<ProgramEnd> RunAsync(string program, string arguments, TimeSpan timeout, Action<string> show)
            {
                Calls.Add(program + " " + arguments);
                foreach (var end in _ends)
                    if (arguments.Contains(end.Key)) return Task.FromResult(end.Value);
                return Task.FromResult(new ProgramEnd(true, string.Empty));
            }
        }
    }
}
