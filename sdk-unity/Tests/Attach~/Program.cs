// Plays the editor's part in an attachment, without the editor: has a server of the stack stand in, and runs a program in its
// place, as play mode runs a project, until its input ends. For scripts/test-unity.sh.
//
//   mono Muster.Attach.exe PROJECT MUSTER PROGRAM ARGUMENTS

using System;
using System.Diagnostics;
using System.Threading.Tasks;
using Muster.Editor;
using Muster.Net;

namespace Muster.Tests.Attach
{
    internal static class Program
    {
        private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

        private static int Main(string[] arguments)
        {
            if (arguments.Length != 4)
            {
                Console.Error.WriteLine("arguments: PROJECT MUSTER PROGRAM ARGUMENTS");
                return 2;
            }
            try
            {
                Play(arguments).GetAwaiter().GetResult();
                return 0;
            }
            catch (MusterException error)
            {
                Console.Error.WriteLine($"{error.Code}: {error.Message}");
                return 1;
            }
        }

        private static async Task Play(string[] arguments)
        {
            var programs = new Programs(arguments[0]);
            using (var platform = new NetPlatform())
            {
                var attachment = new Attachment(arguments[0], arguments[1], programs, platform, Console.WriteLine);
                var variables = await attachment.AttachAsync(Patience);
                foreach (var variable in variables) Environment.SetEnvironmentVariable(variable.Key, variable.Value);
                var playing = programs.Start(arguments[2], arguments[3], Console.WriteLine);
                Console.WriteLine("in the place of " + variables["MUSTER_SERVER_ID"]);
                await Task.Run(() => Console.In.ReadToEnd());
                Stop(playing);
                await attachment.DetachAsync();
                Console.WriteLine("detached");
            }
        }

        private static void Stop(Process playing)
        {
            using (playing)
            {
                if (!playing.HasExited) playing.Kill();
            }
        }
    }
}
