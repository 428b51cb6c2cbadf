// A dedicated Linux server of the open scenes, as a container image, pushed to Muster. What the fleet is like stands in a
// file of the project, which is the developer's: it is written once, and never over.

using System;
using System.Collections.Generic;
using System.IO;
using System.Threading.Tasks;
using UnityEditor;
using UnityEditor.Build.Reporting;

namespace Muster.Editor
{
    /// <summary>Builds, packs and deploys the project's server.</summary>
    internal static class ServerBuild
    {
        private const string Directory = "Builds/MusterServer";
        private const string Executable = "server.x86_64";
        private const string QueueFile = "muster-queue.toml";

        private const string Dockerfile =
            "FROM debian:stable-slim\n" +
            "RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*\n" +
            "COPY . /game\n" +
            "RUN chmod 755 /game/" + Executable + "\n" +
            "USER 10001:10001\n" +
            "ENV HOME=/tmp\n" +
            "ENTRYPOINT [\"/game/" + Executable + "\", \"-batchmode\", \"-nographics\", \"-logFile\", \"-\"]\n";

        private const string Fleet =
            "name = \"{0}\"\nbuild = \"{0}:latest\"\nlobbies = true\nmax_players = 8\n\n" +
            "[[ports]]\nname = \"game-udp\"\nprotocol = \"udp\"\nport = 7777\n" +
            "# The transport hides its socket: the SDK proves the seat from another one.\ntoken = \"claim\"\n\n" +
            "[regions.local]\nwarm = 1\nmax = 4\n\n[limits]\ncpu_millis = 500\nmemory_mib = 512\npids = 128\n";

        private const string Queue = "name = \"quick\"\nfleet = \"{0}\"\nplayers = 2\n";

        /// <summary>Does all of it, showing each step; true if all went well.</summary>
        internal static async Task<bool> BuildAndDeploy(string name, Action<string> show)
        {
            var directory = Path.Combine(MusterTool.Project, Directory);
            if (!Build(directory, show)) return false;
            File.WriteAllText(Path.Combine(directory, "Dockerfile"), Dockerfile);
            WriteOnce(Attachment.FleetFileName, string.Format(Fleet, name), show);
            WriteOnce(QueueFile, string.Format(Queue, name), show);
            return await MusterTool.Run("docker", $"build --tag {name}:latest \"{directory}\"", show) &&
                   await MusterTool.Run(MusterTool.Path, $"build push {name}:latest", show) &&
                   await MusterTool.Run(MusterTool.Path, $"fleet apply -f {Attachment.FleetFileName}", show) &&
                   await MusterTool.Run(MusterTool.Path, $"queue apply -f {QueueFile}", show);
        }

        private static bool Build(string directory, Action<string> show)
        {
            var scenes = new List<string>();
            foreach (var scene in EditorBuildSettings.scenes)
                if (scene.enabled) scenes.Add(scene.path);
            if (scenes.Count == 0)
            {
                show("No scene is in the build settings. Add the server's scene there first.");
                return false;
            }
            show($"building {string.Join(", ", scenes.ToArray())} into {Directory}");
            var report = BuildPipeline.BuildPlayer(new BuildPlayerOptions
            {
                scenes = scenes.ToArray(),
                locationPathName = Path.Combine(directory, Executable),
                target = BuildTarget.StandaloneLinux64,
                subtarget = (int)StandaloneBuildSubtarget.Server,
            });
            if (report.summary.result == BuildResult.Succeeded) return true;
            show("The build failed; the console says why. The Linux dedicated server module has to be installed (Unity Hub).");
            return false;
        }

        private static void WriteOnce(string file, string text, Action<string> show)
        {
            var path = Path.Combine(MusterTool.Project, file);
            if (File.Exists(path)) return;
            File.WriteAllText(path, text);
            show($"wrote {file}; change it as you like");
        }
    }
}
