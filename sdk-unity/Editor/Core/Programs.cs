// Runs programs for the window: what they print is shown line by line, and kept up to a bound.

using System;
using System.Diagnostics;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Editor
{
    /// <summary>How a program ended.</summary>
    public sealed class ProgramEnd
    {
        /// <summary>An end.</summary>
        public ProgramEnd(bool isWell, string output)
        {
            IsWell = isWell;
            Output = output;
        }

        /// <summary>Whether it says that all went well.</summary>
        public bool IsWell { get; }

        /// <summary>What it printed, without its errors; the first <see cref="Programs.MaxOutputChars"/>.</summary>
        public string Output { get; }
    }

    /// <summary>Runs programs.</summary>
    public interface IPrograms
    {
        /// <summary>Runs a program to its end, or until <paramref name="timeout"/>, which is no good end.</summary>
        /// <param name="program">Its name or path.</param>
        /// <param name="arguments">As on a command line; what has spaces in it is quoted.</param>
        /// <param name="timeout">A program that takes longer is killed.</param>
        /// <param name="show">Takes each line that it prints, on any thread.</param>
        Task<ProgramEnd> RunAsync(string program, string arguments, TimeSpan timeout, Action<string> show);
    }

    /// <summary>Runs programs in one directory.</summary>
    public sealed class Programs : IPrograms
    {
        /// <summary>What is kept of a program's output.</summary>
        public const int MaxOutputChars = 1024 * 1024;

        private readonly string _directory;

        /// <summary>Runs them in <paramref name="directory"/>.</summary>
        public Programs(string directory) => _directory = directory;

        /// <inheritdoc/>
        public async Task<ProgramEnd> RunAsync(string program, string arguments, TimeSpan timeout, Action<string> show)
        {
            var output = new StringBuilder();
            var outputs = new CountdownEvent(2);
            var process = Start(program, arguments, line =>
            {
                if (line == null) outputs.Signal();
                else if (output.Length + line.Length < MaxOutputChars) output.Append(line).Append('\n');
                if (line != null) show(line);
            }, line =>
            {
                if (line == null) outputs.Signal();
                else show(line);
            }, show);
            if (process == null) return new ProgramEnd(false, string.Empty);
            using (process)
            {
                // A thread is what the class library has for this; a window runs one thing at a time.
                var ended = await Task.Run(() => process.WaitForExit((int)timeout.TotalMilliseconds));
                if (!ended)
                {
                    Kill(process);
                    show($"{program} did not end within {timeout.TotalSeconds:0} s and was ended");
                    return new ProgramEnd(false, string.Empty);
                }
                // Its last lines may still be on their way; a child that it left may hold its output open.
                await Task.Run(() => outputs.Wait(LastLinesMs));
                return new ProgramEnd(process.ExitCode == 0, output.ToString());
            }
        }

        /// <summary>Starts a program that stays; <c>null</c>, and a line that says why, if it cannot be started.</summary>
        public Process Start(string program, string arguments, Action<string> show)
        {
            Action<string> shown = line =>
            {
                if (line != null) show(line);
            };
            return Start(program, arguments, shown, shown, show);
        }

        private const int LastLinesMs = 1000;

        private Process Start(
            string program, string arguments, Action<string> output, Action<string> errors, Action<string> show)
        {
            var process = new Process
            {
                StartInfo = new ProcessStartInfo(program, arguments)
                {
                    WorkingDirectory = _directory,
                    UseShellExecute = false,
                    CreateNoWindow = true,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                },
            };
            process.OutputDataReceived += (sender, line) => output(line.Data);
            process.ErrorDataReceived += (sender, line) => errors(line.Data);
            try
            {
                process.Start();
            }
            catch (Exception error)
            {
                show($"{program} cannot be started: {error.Message}. Is it installed? Where muster is stands at the top of the window.");
                process.Dispose();
                return null;
            }
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            return process;
        }

        private static void Kill(Process process)
        {
            try
            {
                process.Kill();
            }
            catch (InvalidOperationException)
            {
                // It ended meanwhile.
            }
        }
    }
}
