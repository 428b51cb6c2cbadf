// Runs the program `muster` and other programs for the window: where it is, a stack that stays up, and commands whose output
// is shown. Not the SDK: nothing of it is in a game.

using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Threading.Tasks;
using UnityEditor;
using UnityEngine;

namespace Muster.Editor
{
    /// <summary>The program <c>muster</c>, as the editor uses it.</summary>
    internal static class MusterTool
    {
        private const string PathKey = "Muster.ToolPath";
        private const string StackKey = "Muster.StackProcess";
        private const int MaxOutputLines = 2000;

        /// <summary>Where the program is.</summary>
        internal static string Path
        {
            get => EditorPrefs.GetString(PathKey, "muster");
            set => EditorPrefs.SetString(PathKey, value);
        }

        /// <summary>The project's directory, in which the stack keeps <c>.muster</c>.</summary>
        internal static string Project => System.IO.Path.GetDirectoryName(Application.dataPath);

        /// <summary>The token for game clients that the stack of this project has written; empty: none yet.</summary>
        internal static string ClientToken
        {
            get
            {
                var file = System.IO.Path.Combine(Project, ".muster", "client-token");
                return File.Exists(file) ? File.ReadAllText(file).Trim() : string.Empty;
            }
        }

        /// <summary>Whether the stack that this editor started runs. It outlives reloads of the editor's scripts.</summary>
        internal static bool IsStackUp => Stack() != null;

        /// <summary>Starts <c>muster dev</c>; what it prints goes to <paramref name="show"/>.</summary>
        internal static void StartStack(Action<string> show)
        {
            if (IsStackUp) return;
            var process = Start(Path, "dev", show);
            if (process != null) UnityEditor.SessionState.SetInt(StackKey, process.Id);
        }

        /// <summary>Stops it, and the servers it runs.</summary>
        internal static void StopStack(Action<string> show)
        {
            var process = Stack();
            UnityEditor.SessionState.EraseInt(StackKey);
            if (process == null) return;
            // SIGTERM stops the servers, too; where there is no such thing, the process ends as it can.
            if (Application.platform == RuntimePlatform.WindowsEditor) process.Kill();
            else Start("kill", process.Id.ToString(), show);
        }

        /// <summary>Runs a program to its end; true if it says that all went well.</summary>
        internal static Task<bool> Run(string program, string arguments, Action<string> show)
        {
            var ended = new TaskCompletionSource<bool>();
            show($"> {program} {arguments}");
            var process = Start(program, arguments, show);
            if (process == null)
            {
                ended.SetResult(false);
                return ended.Task;
            }
            process.Exited += (sender, nothing) => ended.TrySetResult(process.ExitCode == 0);
            if (process.HasExited) ended.TrySetResult(process.ExitCode == 0);
            return ended.Task;
        }

        private static Process Stack()
        {
            var id = UnityEditor.SessionState.GetInt(StackKey, 0);
            if (id == 0) return null;
            try
            {
                var process = Process.GetProcessById(id);
                return process.HasExited ? null : process;
            }
            catch (ArgumentException)
            {
                return null;
            }
        }

        private static Process Start(string program, string arguments, Action<string> show)
        {
            var process = new Process
            {
                EnableRaisingEvents = true,
                StartInfo = new ProcessStartInfo(program, arguments)
                {
                    WorkingDirectory = Project,
                    UseShellExecute = false,
                    CreateNoWindow = true,
                    RedirectStandardOutput = true,
                    RedirectStandardError = true,
                },
            };
            process.OutputDataReceived += (sender, line) => Show(line.Data, show);
            process.ErrorDataReceived += (sender, line) => Show(line.Data, show);
            try
            {
                process.Start();
            }
            catch (Exception error)
            {
                show($"{program} cannot be started: {error.Message}. Set where it is at the top of this window.");
                return null;
            }
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            return process;
        }

        private static void Show(string line, Action<string> show)
        {
            if (line != null) show(line);
        }

        /// <summary>The last lines of what was shown, for the window; safe from any thread.</summary>
        internal sealed class Output
        {
            private readonly Queue<string> _lines = new Queue<string>();

            /// <summary>Adds a line; of too many the oldest goes.</summary>
            internal void Add(string line)
            {
                lock (_lines)
                {
                    if (_lines.Count == MaxOutputLines) _lines.Dequeue();
                    _lines.Enqueue(line);
                }
            }

            /// <summary>All of them.</summary>
            internal string Text
            {
                get { lock (_lines) return string.Join("\n", _lines.ToArray()); }
            }
        }
    }
}
