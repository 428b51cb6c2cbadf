// The program `muster`, as the window uses it: where it is, a stack that stays up, and commands whose output is shown. Not
// the SDK: nothing of it is in a game.

using System;
using System.Collections.Generic;
using System.Diagnostics;
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
        // The first build of an image may have to fetch much.
        private static readonly TimeSpan LongestRun = TimeSpan.FromMinutes(30);

        /// <summary>Where the program is.</summary>
        internal static string Path
        {
            get => EditorPrefs.GetString(PathKey, "muster");
            set => EditorPrefs.SetString(PathKey, value);
        }

        /// <summary>The project's directory, in which the stack keeps <c>.muster</c>.</summary>
        internal static string Project => System.IO.Path.GetDirectoryName(Application.dataPath);

        /// <summary>Runs programs in the project's directory, where they find its stack.</summary>
        internal static Programs Programs => new Programs(Project);

        /// <summary>Whether the stack that this editor started runs. It outlives reloads of the editor's scripts.</summary>
        internal static bool IsStackUp => Stack() != null;

        /// <summary>Starts <c>muster dev</c>; what it prints goes to <paramref name="show"/>.</summary>
        internal static void StartStack(Action<string> show)
        {
            if (IsStackUp) return;
            var process = Programs.Start(Path, "dev", show);
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
            else Programs.Start("kill", process.Id.ToString(), show);
        }

        /// <summary>Runs a program to its end; true if it says that all went well.</summary>
        internal static async Task<bool> Run(string program, string arguments, Action<string> show)
        {
            show($"> {program} {arguments}");
            return (await Programs.RunAsync(program, arguments, LongestRun, show)).IsWell;
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
