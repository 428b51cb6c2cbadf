// What Muster tells a game server by its environment variables. Read once, from whatever is given, so that tests and
// the editor can say what they like.

using System;
using System.Collections.Generic;

namespace Muster
{
    /// <summary>Who and where this server is.</summary>
    public sealed class ServerEnvironment
    {
        /// <summary>
        /// Set in a container that stands in for a server in the editor: <see cref="StandIn"/>. Names that begin with
        /// <c>MUSTER_</c> are not for fleets to set.
        /// </summary>
        public const string StandInVariable = "STAND_IN_OF_MUSTER";

        private const string PortPrefix = "MUSTER_PORT_";

        private ServerEnvironment(Func<string, string> get, IEnumerable<string> names)
        {
            SdkUrl = get("MUSTER_SDK_URL") ?? string.Empty;
            ServerToken = get("MUSTER_SERVER_TOKEN") ?? string.Empty;
            ServerId = get("MUSTER_SERVER_ID") ?? string.Empty;
            Namespace = get("MUSTER_NAMESPACE") ?? string.Empty;
            Region = get("MUSTER_REGION") ?? string.Empty;
            IsStandIn = !string.IsNullOrEmpty(get(StandInVariable));
            var ports = new Dictionary<string, int>();
            foreach (var name in names)
            {
                int port;
                if (!name.StartsWith(PortPrefix, StringComparison.Ordinal)) continue;
                if (!int.TryParse(get(name), out port) || port < 1 || port > ushort.MaxValue) continue;
                ports[name.Substring(PortPrefix.Length).ToLowerInvariant().Replace('_', '-')] = port;
            }
            Ports = ports;
        }

        /// <summary>Where the SDK endpoint is; empty outside of Muster.</summary>
        public string SdkUrl { get; }
        /// <summary>Its bearer token.</summary>
        public string ServerToken { get; }
        /// <summary>The server's id.</summary>
        public string ServerId { get; }
        /// <summary>Namespace.</summary>
        public string Namespace { get; }
        /// <summary>Region.</summary>
        public string Region { get; }
        /// <summary>Ports to listen on, by the fleet's names for them.</summary>
        public IReadOnlyDictionary<string, int> Ports { get; }

        /// <summary>Whether this process only passes on to a server in the editor of the node's machine.</summary>
        public bool IsStandIn { get; }

        /// <summary>The node's machine, as its containers reach it; empty outside of Muster.</summary>
        public string NodeHost => Uri.TryCreate(SdkUrl, UriKind.Absolute, out var url) ? url.Host : string.Empty;

        /// <summary>Whether this process was started by Muster.</summary>
        public bool UnderMuster => SdkUrl.Length > 0;

        /// <summary>The port of that name, or <paramref name="fallback"/> outside of Muster.</summary>
        public int Port(string name, int fallback) => Ports.TryGetValue(name, out var port) ? port : fallback;

        /// <summary>What this process's variables say.</summary>
        public static ServerEnvironment OfProcess()
        {
            var names = new List<string>();
            foreach (var name in Environment.GetEnvironmentVariables().Keys) names.Add((string)name);
            return new ServerEnvironment(Environment.GetEnvironmentVariable, names);
        }

        /// <summary>What these variables say.</summary>
        public static ServerEnvironment Of(IReadOnlyDictionary<string, string> variables) =>
            new ServerEnvironment(name => variables.TryGetValue(name, out var value) ? value : null, variables.Keys);
    }
}
