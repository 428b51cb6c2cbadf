// Netcode for GameObjects on Unity Transport. The transport hides its socket, so the seat is claimed from another one
// (token mode "claim"), and claimed again whenever the connection has to be made anew. This assembly exists only where the
// package is.

using System;
using System.Text;
using System.Threading;
using System.Threading.Tasks;
using Muster.Unity;
using Unity.Netcode;
using Unity.Netcode.Transports.UTP;
using UnityEngine;

namespace Muster.Netcode
{
    /// <summary>Connects a <see cref="NetworkManager"/> to the seat of a <see cref="MusterClient"/>, and brings it back.</summary>
    [AddComponentMenu("Muster/Muster Netcode Client")]
    [RequireComponent(typeof(MusterClient))]
    public sealed class MusterNetcodeClient : MonoBehaviour
    {
        private const int MaxRejoins = 5;
        private const float RejoinPauseSeconds = 1;

        [SerializeField, Tooltip("Port of the fleet, with token = \"claim\"; empty: the first of protocol udp")]
        private string portName = string.Empty;

        private readonly CancellationTokenSource _alive = new CancellationTokenSource();
        private int _rejoins;
        private bool _wantsToPlay;

        /// <summary>The server let the client go, or could not be reached again.</summary>
        public event Action<MusterException> Lost;

        /// <summary>
        /// Claims the seat and starts the client. The seat's session token is the connection data, which the server checks by
        /// <see cref="MusterNetcodeServer"/>.
        /// </summary>
        public async Task StartClientAsync()
        {
            var manager = NetworkManager.Singleton;
            var endpoint = await GetComponent<MusterClient>().ClaimAsync(portName.Length == 0 ? null : portName);
            var transport = (UnityTransport)manager.NetworkConfig.NetworkTransport;
            transport.SetConnectionData(endpoint.Host, (ushort)endpoint.Port);
            manager.NetworkConfig.ConnectionApproval = true;
            manager.NetworkConfig.ConnectionData = Encoding.UTF8.GetBytes(endpoint.Token ?? string.Empty);
            manager.OnClientDisconnectCallback -= OnDisconnect;
            manager.OnClientDisconnectCallback += OnDisconnect;
            manager.OnClientConnectedCallback -= OnConnect;
            manager.OnClientConnectedCallback += OnConnect;
            _wantsToPlay = true;
            if (!manager.StartClient())
                throw new MusterException(MusterCodes.ConnectionLost,
                    "Netcode does not start its client. Its log says why; a NetworkManager that runs has to be shut down first.");
        }

        /// <summary>Stops the client without coming back.</summary>
        public void StopClient()
        {
            _wantsToPlay = false;
            NetworkManager.Singleton.Shutdown();
        }

        private void OnConnect(ulong client) => _rejoins = 0;

        private async void OnDisconnect(ulong client)
        {
            var manager = NetworkManager.Singleton;
            // A server that turned the client away said why.
            var why = manager.DisconnectReason;
            if (!_wantsToPlay || client != manager.LocalClientId) return;
            while (_rejoins < MaxRejoins && string.IsNullOrEmpty(why) && !_alive.IsCancellationRequested)
            {
                _rejoins++;
                manager.Shutdown();
                await Task.Delay(TimeSpan.FromSeconds(RejoinPauseSeconds));
                if (_alive.IsCancellationRequested) return;
                try
                {
                    await GetComponent<MusterClient>().Ticket.RefreshAsync(null, _alive.Token);
                    await StartClientAsync();
                    return;
                }
                catch (MusterException error) when (error.IsTransient)
                {
                    why = null;
                }
                catch (MusterException error)
                {
                    why = error.Message;
                }
            }
            _wantsToPlay = false;
            Lost?.Invoke(new MusterException(MusterCodes.ConnectionLost,
                string.IsNullOrEmpty(why) ? "The server is not reached any more. Ask for a match again." : why));
        }

        private void OnDestroy() => _alive.Cancel();
    }

    /// <summary>Listens on Muster's port, lets in who has a seat, and says who is there.</summary>
    [AddComponentMenu("Muster/Muster Netcode Server")]
    [RequireComponent(typeof(MusterServer))]
    public sealed class MusterNetcodeServer : MonoBehaviour
    {
        [SerializeField, Tooltip("The fleet's name for the port")]
        private string portName = "game-udp";

        private readonly System.Collections.Generic.Dictionary<ulong, VerifiedSeat> _seats =
            new System.Collections.Generic.Dictionary<ulong, VerifiedSeat>();

        /// <summary>Who sits behind a client of Netcode's; <c>null</c> outside of Muster.</summary>
        public VerifiedSeat SeatOf(ulong clientId) => _seats.TryGetValue(clientId, out var seat) ? seat : null;

        /// <summary>Starts the server, and tells Muster that players can come.</summary>
        public async Task StartServerAsync(ushort fallbackPort = 7777)
        {
            var muster = GetComponent<MusterServer>();
            var manager = NetworkManager.Singleton;
            var transport = (UnityTransport)manager.NetworkConfig.NetworkTransport;
            transport.SetConnectionData("0.0.0.0", (ushort)muster.Port(portName, fallbackPort), "0.0.0.0");
            manager.NetworkConfig.ConnectionApproval = true;
            manager.ConnectionApprovalCallback = Approve;
            manager.OnClientDisconnectCallback += OnDisconnect;
            if (!manager.StartServer())
                throw new MusterException(MusterCodes.InvalidArgument, "Netcode does not start its server. Its log says why.");
            await muster.ReadyAsync();
        }

        private async void Approve(
            NetworkManager.ConnectionApprovalRequest request, NetworkManager.ConnectionApprovalResponse response)
        {
            var muster = GetComponent<MusterServer>();
            response.CreatePlayerObject = NetworkManager.Singleton.NetworkConfig.PlayerPrefab != null;
            if (!muster.UnderMuster)
            {
                response.Approved = true;
                return;
            }
            response.Pending = true;
            var seat = await muster.AdmitAsync(Encoding.UTF8.GetString(request.Payload));
            if (seat != null) _seats[request.ClientNetworkId] = seat;
            response.Approved = seat != null;
            response.Reason = seat != null ? string.Empty : "The seat is not yours any more. Ask for a match again.";
            response.Pending = false;
        }

        private async void OnDisconnect(ulong client)
        {
            var seat = SeatOf(client);
            if (seat == null) return;
            _seats.Remove(client);
            // Who came back before this connection was found dead still sits there.
            foreach (var other in _seats.Values)
                if (other.SeatId == seat.SeatId) return;
            await GetComponent<MusterServer>().DisconnectedAsync(seat.SeatId);
        }
    }
}
