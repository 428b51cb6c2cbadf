// What attaching has to know and change of a fleet's file. Not a TOML reader: `muster fleet apply` is one, and says what is
// wrong with a file.

using System;
using System.Collections.Generic;
using System.Linq;

namespace Muster.Editor
{
    /// <summary>A fleet's file, as text.</summary>
    public static class FleetFile
    {
        private const string EnvironmentTable = "[env]";

        /// <summary>The fleet's name; empty if the file has none.</summary>
        public static string NameIn(string text)
        {
            foreach (var line in Lines(text).TakeWhile(line => !line.TrimStart().StartsWith("[", StringComparison.Ordinal)))
                if (KeyOf(line) == "name") return line.Split('"').ElementAtOrDefault(1) ?? string.Empty;
            return string.Empty;
        }

        /// <summary>The same fleet with one warm server, which stands in for the editor's; <c>null</c> if that cannot be said in it.</summary>
        public static string Attached(string text)
        {
            const string standIn = ServerEnvironment.StandInVariable + " = \"1\"";
            var lines = new List<string>();
            var hasTable = false;
            foreach (var line in Lines(text))
            {
                if (KeyOf(line) == "env") return null;
                lines.Add(KeyOf(line) == "warm" ? "warm = 1" : line);
                if (line.Trim() != EnvironmentTable) continue;
                hasTable = true;
                lines.Add(standIn);
            }
            if (!hasTable) lines.AddRange(new[] { EnvironmentTable, standIn, string.Empty });
            return string.Join("\n", lines.ToArray());
        }

        private static string[] Lines(string text) => text.Replace("\r\n", "\n").Split('\n');

        // Empty if nothing is set in the line.
        private static string KeyOf(string line)
        {
            var end = line.IndexOf('=');
            return end < 0 ? string.Empty : line.Substring(0, end).Trim();
        }
    }
}
