// How the stack of a project is reached: `muster dev` leaves it in files of the project's .muster.

using System;
using System.IO;

namespace Muster.Editor
{
    /// <summary>Where a project's <c>muster dev</c> is, by the files that it writes.</summary>
    public sealed class LocalStack
    {
        /// <summary>The directory of the project that is the stack's.</summary>
        public const string Directory = ".muster";

        private LocalStack(string url, string clientToken)
        {
            Url = url;
            ClientToken = clientToken;
        }

        /// <summary>URL of its API.</summary>
        public string Url { get; }

        /// <summary>Its token for game clients.</summary>
        public string ClientToken { get; }

        /// <summary>The stack of <paramref name="project"/>; <c>null</c> if it has not said yet how it is reached.</summary>
        public static LocalStack Of(string project)
        {
            var url = string.Empty;
            foreach (var line in Read(project, "client.toml").Split('\n'))
                if (line.StartsWith("url", StringComparison.Ordinal) && line.Split('"').Length > 1) url = line.Split('"')[1];
            var token = Read(project, "client-token").Trim();
            return url.Length == 0 || token.Length == 0 ? null : new LocalStack(url, token);
        }

        private static string Read(string project, string file)
        {
            try
            {
                return File.ReadAllText(Path.Combine(project, Directory, file));
            }
            catch (IOException)
            {
                return string.Empty;
            }
        }
    }
}
