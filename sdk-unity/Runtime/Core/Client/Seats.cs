// Which endpoints to try, in which order, for how long, and when the session token has to be read anew. What is done at
// an endpoint is the caller's: open a link, or claim.

using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using Muster.Wire;

namespace Muster
{
    internal static class Seats
    {
        private const int RetryMs = 250;
        // Time for one of several endpoints, twice as much each round: a round trip around the world, some times over.
        private const int FirstShareMs = 1000;
        private const int MaxDoublings = 5;

        // Does `open` at the first endpoint of `choose` where it works. Those of other edges, or of other transports,
        // come next; then all of them again, until the deadline.
        internal static async Task<T> Through<T>(
            MatchTicket ticket, Func<Assignment, List<Endpoint>> choose,
            Func<Endpoint, Deadline, Task<T>> open, Deadline deadline, CancellationToken cancel)
        {
            var hasRead = false;
            MusterException worst = null;
            for (var round = 0; ; round++)
            {
                var endpoints = choose(ticket.Outcome());
                var shareMs = endpoints.Count == 1 ? deadline.LeftMs : FirstShareMs << Math.Min(round, MaxDoublings);
                foreach (var endpoint in endpoints)
                {
                    try
                    {
                        return await open(endpoint, deadline.AtMost(TimeSpan.FromMilliseconds(shareMs)));
                    }
                    catch (MusterException error) when (IsStale(error) && !hasRead)
                    {
                        hasRead = true;
                        await ticket.Refresh(deadline, cancel);
                        break;
                    }
                    catch (MusterException error) when (error.IsTransient)
                    {
                        // Silence says less than whatever else was heard.
                        if (worst == null || error.Code != MusterCodes.Timeout) worst = error;
                    }
                }
                if (deadline.LeftMs <= RetryMs) throw worst ?? Deadline.TimedOut("connecting");
                if (worst != null) await deadline.Pause(RetryMs, cancel);
            }
        }

        // The endpoints that fit, the preferred transport first and of each transport the preferred edge.
        internal static List<Endpoint> Choose(
            Assignment assignment, string portName, Transport transport, bool hasSockets)
        {
            var wanted = transport != Transport.Auto ? new[] { transport }
                : hasSockets ? new[] { Transport.Udp, Transport.Tcp, Transport.WebSocket }
                : new[] { Transport.WebSocket };
            if (!hasSockets && transport != Transport.Auto && transport != Transport.WebSocket)
                throw new MusterException(MusterCodes.Unsupported,
                    "A browser has WebSockets only. Give the fleet a port of protocol ws.");
            var list = new List<Endpoint>();
            foreach (var kind in wanted)
            foreach (var endpoint in assignment.Endpoints)
                if (endpoint.Transport == kind && (string.IsNullOrEmpty(portName) || endpoint.PortName == portName))
                    list.Add(endpoint);
            if (list.Count > 0) return list;
            var there = new List<string>();
            foreach (var endpoint in assignment.Endpoints) there.Add($"{endpoint.PortName} ({endpoint.Protocol})");
            var port = string.IsNullOrEmpty(portName) ? "port" : $"port \"{portName}\"";
            var kinds = transport == Transport.Auto ? string.Empty : $" for {transport}";
            throw new MusterException(MusterCodes.NoEndpoint,
                $"The server has no {port}{kinds}. It has: {string.Join(", ", there.ToArray())}. The fleet's [[ports]] say which there are.");
        }

        private static bool IsStale(MusterException error) =>
            error.Code == MusterCodes.RefusedExpired || error.Code == MusterCodes.RefusedUntrusted;
    }

    internal static class SeatClaim
    {
        internal static Task<Endpoint> Make(
            MatchTicket ticket, string portName, Deadline deadline, CancellationToken cancel)
        {
            var platform = ticket.Api.Platform;
            return Seats.Through(
                ticket, assignment => Seats.Choose(assignment, portName, Transport.Udp, platform.HasSockets),
                (endpoint, share) => Claim(platform, endpoint, share, cancel), deadline, cancel);
        }

        private static async Task<Endpoint> Claim(
            IPlatform platform, Endpoint endpoint, Deadline deadline, CancellationToken cancel)
        {
            if (endpoint.TokenMode == "open") return endpoint;
            if (endpoint.TokenMode != "claim")
                throw new MusterException(MusterCodes.Unsupported,
                    $"Port {endpoint.PortName} has token mode {endpoint.TokenMode}, and this transport hides its socket. " +
                    "Set token = \"claim\" for the port in the fleet's file.");
            var what = "claim at " + Links.Name(endpoint);
            using (var socket = await deadline.Run(what, stop => Dial.Udp(endpoint.Host, endpoint.Port, stop), cancel))
                await UdpLink.Prove(platform, socket, what, Preface.EncodeClaim(endpoint.Token), deadline, cancel);
            return endpoint;
        }
    }
}
