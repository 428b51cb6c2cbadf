// Measures the round trip to each region by its edges' beacons. A region that does not answer is left out: the
// matchmaker then takes it to be far.

using System;
using System.Collections.Generic;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;
using Muster.Net;
using Muster.Wire;

namespace Muster
{
    internal static class Latencies
    {
        // How long measuring may hold up a request for a match.
        internal static readonly TimeSpan Enough = TimeSpan.FromMilliseconds(1500);

        private const int Samples = 4;
        private const int SampleMs = 500;
        private const int MaxBeacons = 64;
        private const int NonceBytes = 8;

        internal static async Task<IReadOnlyDictionary<string, int>> Measure(
            IPlatform platform, IReadOnlyList<Region> regions, Deadline deadline, CancellationToken cancel)
        {
            var best = new Dictionary<string, int>();
            if (!platform.HasSockets) return best;
            // What is measured in the last moment would only make the call itself late.
            var end = deadline.AtMost(Enough);
            var names = new List<string>();
            var measuring = new List<Task<int?>>();
            foreach (var region in regions)
            foreach (var beacon in region.Beacons)
            {
                if (!region.IsServed || measuring.Count == MaxBeacons) continue;
                names.Add(region.Name);
                measuring.Add(Quiet(platform, beacon, end, cancel));
            }
            var found = await Task.WhenAll(measuring);
            cancel.ThrowIfCancellationRequested();
            for (var i = 0; i < found.Length; i++)
                if (found[i].HasValue && (!best.ContainsKey(names[i]) || found[i].Value < best[names[i]]))
                    best[names[i]] = found[i].Value;
            return best;
        }

        // One beacon's smallest round trip; `null` if none came back.
        private static async Task<int?> Quiet(
            IPlatform platform, BeaconAddress beacon, Deadline end, CancellationToken cancel)
        {
            Socket socket = null;
            try
            {
                socket = await end.Run("beacon", stop => Dial.Udp(beacon.Host, beacon.Port, stop), cancel);
                return await Sample(platform, socket, end, cancel);
            }
            catch (Exception error) when (error is MusterException || error is SocketException ||
                                          error is ObjectDisposedException || error is OperationCanceledException)
            {
                return null;
            }
            finally
            {
                socket?.Dispose();
            }
        }

        private static async Task<int?> Sample(
            IPlatform platform, Socket socket, Deadline end, CancellationToken cancel)
        {
            int? best = null;
            Task<int> receiving = null;
            var nonce = Guid.NewGuid().ToByteArray();
            var buffer = new byte[64];
            for (var number = 0; number < Samples && !end.IsOver; number++)
            {
                var mine = new byte[NonceBytes];
                Buffer.BlockCopy(nonce, 0, mine, 0, NonceBytes);
                mine[0] = (byte)number;
                var sentAt = platform.NowMs;
                await Send(socket, Beacon.Encode(mine));
                var enough = end.Pause(SampleMs, cancel);
                while (true)
                {
                    receiving = receiving ?? Receive(socket, buffer);
                    if (await Task.WhenAny(receiving, enough) == enough) break;
                    var back = Beacon.Decode(buffer, await receiving);
                    receiving = null;
                    if (back == null || !Same(back, mine)) continue;
                    best = (int)Math.Min(best ?? int.MaxValue, platform.NowMs - sentAt);
                    break;
                }
            }
            if (receiving != null) Deadline.Forget(receiving);
            return best;
        }

        private static bool Same(byte[] a, byte[] b)
        {
            if (a.Length != b.Length) return false;
            for (var i = 0; i < a.Length; i++)
                if (a[i] != b[i]) return false;
            return true;
        }

        internal static Task<int> Send(Socket socket, byte[] bytes) =>
            socket.SendAsync(new ArraySegment<byte>(bytes), SocketFlags.None);

        internal static Task<int> Receive(Socket socket, byte[] buffer) =>
            socket.ReceiveAsync(new ArraySegment<byte>(buffer), SocketFlags.None);
    }
}
