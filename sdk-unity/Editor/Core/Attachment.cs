// Puts a project, as the editor plays it, in the place of a server of the local stack. A container of the project's fleet
// stands in for it and passes on what players send (StandIn), and the project is played with that container's variables:
// Muster and players take it for the server, and the debugger has it. Knows no engine; whoever plays the project is told
// the variables.

using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.ExceptionServices;
using System.Threading;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Net;

namespace Muster.Editor
{
    /// <summary>A project's place among the stack's servers.</summary>
    public sealed class Attachment
    {
        /// <summary>The project's fleet, as the window writes it once.</summary>
        public const string FleetFileName = "muster-fleet.toml";

        private const string AttachedFile = "attached-fleet.toml";
        private const int LookEveryMs = 500;
        // What `muster` and `docker inspect` take of a stack that is well, and more.
        private static readonly TimeSpan CallTimeout = TimeSpan.FromSeconds(30);

        private readonly string _project;
        private readonly string _muster;
        private readonly IPrograms _programs;
        private readonly IPlatform _platform;
        private readonly Action<string> _show;

        /// <summary>An attachment of the project in that directory, by the program <paramref name="muster"/>.</summary>
        public Attachment(string project, string muster, IPrograms programs, IPlatform platform, Action<string> show)
        {
            _project = project;
            _muster = muster;
            _programs = programs;
            _platform = platform;
            _show = show;
        }

        /// <summary>
        /// Has a server of the fleet stand in. Its variables are given back: a process, or the editor's play mode, that has
        /// them is that server. However this ends otherwise, the fleet is as its file says.
        /// </summary>
        /// <exception cref="MusterException">
        /// <c>invalid_argument</c>: the fleet's file; <c>timeout</c>: no server stood in; <c>bad_answer</c>: a program failed.
        /// </exception>
        public async Task<IReadOnlyDictionary<string, string>> AttachAsync(
            TimeSpan timeout, CancellationToken cancel = default(CancellationToken))
        {
            var text = ReadFleet();
            var fleet = FleetFile.NameIn(text);
            if (fleet.Length == 0)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"{FleetFileName} names no fleet, so there is none to attach to. Give it a name = \"…\" at its top.");
            var attached = FleetFile.Attached(text);
            if (attached == null)
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"The environment in {FleetFileName} stands in a line. Write it as a table, [env].");
            var file = Path.Combine(_project, LocalStack.Directory, AttachedFile);
            System.IO.Directory.CreateDirectory(Path.GetDirectoryName(file));
            File.WriteAllText(file, attached);
            await Apply(file);
            ExceptionDispatchInfo failure;
            try
            {
                return await StandsIn(fleet, Deadline.After(_platform, timeout), cancel);
            }
            catch (Exception error)
            {
                failure = ExceptionDispatchInfo.Capture(error);
            }
            await Restore();
            failure.Throw();
            return null;
        }

        /// <summary>The fleet is as its file says again, and its servers run in containers.</summary>
        /// <exception cref="MusterException"><c>bad_answer</c>: the fleet could not be applied.</exception>
        public Task DetachAsync() => Apply(Path.Combine(_project, FleetFileName));

        // After a failure, which is what is told then.
        private async Task Restore()
        {
            try
            {
                await DetachAsync();
            }
            catch (MusterException error)
            {
                _show(error.Message);
            }
        }

        private string ReadFleet()
        {
            try
            {
                return File.ReadAllText(Path.Combine(_project, FleetFileName));
            }
            catch (IOException error)
            {
                throw new MusterException(MusterCodes.InvalidArgument,
                    $"{FleetFileName} cannot be read. Deploy the server once, which writes it.", error);
            }
        }

        private async Task Apply(string file)
        {
            var applied = await _programs.RunAsync(_muster, $"fleet apply -f \"{file}\"", CallTimeout, _show);
            if (!applied.IsWell)
                throw new MusterException(MusterCodes.BadAnswer,
                    "The fleet could not be applied; what `muster fleet apply` said stands above. Is the local stack up?");
        }

        private async Task<IReadOnlyDictionary<string, string>> StandsIn(
            string fleet, Deadline deadline, CancellationToken cancel)
        {
            while (!deadline.IsOver)
            {
                foreach (var server in await Starting(fleet))
                {
                    var variables = await VariablesOf(server);
                    if (!variables.Remove(ServerEnvironment.StandInVariable)) continue;
                    return variables;
                }
                await deadline.Pause(LookEveryMs, cancel);
            }
            throw new MusterException(MusterCodes.Timeout,
                $"No server of the fleet \"{fleet}\" stood in for the project in time. Deploy the server first: its image has " +
                "to have this package; and `muster server ls --all` says what became of its servers.");
        }

        // Servers of the fleet whose container runs and that are not ready: one that stands in never says so itself.
        private async Task<List<string>> Starting(string fleet)
        {
            var list = await _programs.RunAsync(
                _muster, $"--json server ls --fleet {fleet} --state starting", CallTimeout, Quiet);
            var servers = new List<string>();
            if (!list.IsWell) return servers;
            try
            {
                foreach (var server in JsonValue.Parse(list.Output).Items) servers.Add(server["id"].AsText());
            }
            catch (FormatException error)
            {
                throw new MusterException(MusterCodes.BadAnswer,
                    $"`muster server ls` did not print JSON ({error.Message}). Does its version fit this package's?", error);
            }
            return servers;
        }

        // Muster's variables in the container of a server; none if it has no container yet.
        private async Task<Dictionary<string, string>> VariablesOf(string server)
        {
            var variables = new Dictionary<string, string>();
            const string format = "\"{{range .Config.Env}}{{println .}}{{end}}\"";
            var inspected = await _programs.RunAsync("docker", $"inspect --format {format} muster-{server}", CallTimeout, Quiet);
            if (!inspected.IsWell) return variables;
            foreach (var line in inspected.Output.Split('\n'))
            {
                var end = line.IndexOf('=');
                if (end < 0) continue;
                var name = line.Substring(0, end);
                if (name.StartsWith("MUSTER_", StringComparison.Ordinal) || name == ServerEnvironment.StandInVariable)
                    variables[name] = line.Substring(end + 1).TrimEnd('\r');
            }
            return variables;
        }

        private static void Quiet(string line) { }
    }
}
