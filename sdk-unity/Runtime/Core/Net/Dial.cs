// Connects sockets by host name. No game protocol here.

using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using System.Threading.Tasks;

namespace Muster.Net
{
    internal static class Dial
    {
        // A UDP socket whose peer is fixed, so that the system drops packets of anybody else.
        internal static async Task<Socket> Udp(string host, int port, CancellationToken cancel)
        {
            var what = $"UDP to {host}:{port}";
            try
            {
                var address = (await Resolve(host, cancel))[0];
                var socket = new Socket(address.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
                try
                {
                    socket.Connect(address, port);
                    return socket;
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            }
            catch (SocketException error)
            {
                throw NetFailures.OfSocket(what, error, error);
            }
        }

        // A TCP connection to the first of the host's addresses that takes one.
        internal static async Task<NetworkStream> Tcp(string host, int port, CancellationToken cancel)
        {
            var what = $"TCP to {host}:{port}";
            SocketException last = null;
            try
            {
                foreach (var address in await Resolve(host, cancel))
                {
                    cancel.ThrowIfCancellationRequested();
                    var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                    try
                    {
                        socket.NoDelay = true;
                        // Closing is the one way to end a connect on every platform.
                        using (cancel.Register(socket.Dispose)) await socket.ConnectAsync(address, port);
                        return new NetworkStream(socket, true);
                    }
                    catch (SocketException error)
                    {
                        socket.Dispose();
                        last = error;
                    }
                    catch
                    {
                        socket.Dispose();
                        cancel.ThrowIfCancellationRequested();
                        throw;
                    }
                }
            }
            catch (SocketException error)
            {
                last = error;
            }
            cancel.ThrowIfCancellationRequested();
            last = last ?? new SocketException((int)SocketError.HostNotFound);
            throw NetFailures.OfSocket(what, last, last);
        }

        private static async Task<IPAddress[]> Resolve(string host, CancellationToken cancel)
        {
            IPAddress literal;
            if (IPAddress.TryParse(host, out literal)) return new[] { literal };
            var found = await Dns.GetHostAddressesAsync(host);
            cancel.ThrowIfCancellationRequested();
            if (found.Length == 0) throw new SocketException((int)SocketError.HostNotFound);
            // Edges listen on IPv4 in most installations, and a UDP socket cannot tell that nobody listens.
            Array.Sort(found, (a, b) => a.AddressFamily.CompareTo(b.AddressFamily));
            return found;
        }
    }
}
