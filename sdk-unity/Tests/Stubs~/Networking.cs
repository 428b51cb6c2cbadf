// As much of the networking packages as the adapters use; see UnityEngine.cs.

using System;
using UnityEngine;

namespace Unity.Netcode
{
    public abstract class NetworkTransport : MonoBehaviour { }

    [Serializable]
    public class NetworkConfig
    {
        public NetworkTransport NetworkTransport;
        public GameObject PlayerPrefab;
        public byte[] ConnectionData;
        public bool ConnectionApproval;
    }

    public class NetworkManager : MonoBehaviour
    {
        public static NetworkManager Singleton { get; private set; }
        public NetworkConfig NetworkConfig;
        public Action<ConnectionApprovalRequest, ConnectionApprovalResponse> ConnectionApprovalCallback;
        public event Action<ulong> OnClientConnectedCallback;
        public event Action<ulong> OnClientDisconnectCallback;
        public ulong LocalClientId => 0;
        public string DisconnectReason => null;
        public bool StartClient() => OnClientConnectedCallback != null;
        public bool StartServer() => OnClientDisconnectCallback != null;
        public void Shutdown(bool discardMessageQueue = false) { }

        public class ConnectionApprovalRequest
        {
            public byte[] Payload;
            public ulong ClientNetworkId;
        }

        public class ConnectionApprovalResponse
        {
            public bool Approved;
            public string Reason;
            public bool CreatePlayerObject;
            public bool Pending;
        }
    }
}

namespace Unity.Netcode.Transports.UTP
{
    public class UnityTransport : NetworkTransport
    {
        public void SetConnectionData(string ipv4Address, ushort port, string listenAddress = null) { }
    }
}

namespace Mirror
{
    public abstract class Transport : MonoBehaviour
    {
        public static Transport active;
    }

    public interface PortTransport
    {
        ushort Port { get; set; }
    }

    public class NetworkManager : MonoBehaviour
    {
        public static NetworkManager singleton { get; internal set; }
        public string networkAddress = "localhost";
        public Transport transport;
        public void StartClient() { }
        public void StartClient(Uri uri) { }
        public void StartServer() { }
        public void StopClient() { }
        public virtual void Awake() { }
        public virtual void OnClientDisconnect() { }
        public virtual void OnServerDisconnect(NetworkConnectionToClient client) { }
    }

    public class NetworkConnection { }

    public class NetworkConnectionToClient : NetworkConnection
    {
        public int connectionId;
        public object authenticationData;
        public void Send<T>(T message, int channel = 0) where T : struct, NetworkMessage { }
        public void Disconnect() { }
    }

    public interface NetworkMessage { }

    public static class NetworkClient
    {
        public static bool isConnected => false;
        public static void Send<T>(T message, int channel = 0) where T : struct, NetworkMessage { }
        public static void RegisterHandler<T>(Action<T> handler, bool requireAuthentication = true)
            where T : struct, NetworkMessage { }
    }

    public static class NetworkServer
    {
        public static void RegisterHandler<T>(Action<NetworkConnectionToClient, T> handler, bool requireAuthentication = true)
            where T : struct, NetworkMessage { }
    }

    public abstract class NetworkAuthenticator : MonoBehaviour
    {
        public virtual void OnStartServer() { }
        public virtual void OnStartClient() { }
        public virtual void OnServerAuthenticate(NetworkConnectionToClient client) { }
        public virtual void OnClientAuthenticate() { }
        protected void ServerAccept(NetworkConnectionToClient client) { }
        protected void ServerReject(NetworkConnectionToClient client) { }
        protected void ClientAccept() { }
        protected void ClientReject() { }
    }
}

namespace FishNet.Managing
{
    public class NetworkManager : MonoBehaviour
    {
        public Client.ClientManager ClientManager => null;
        public Server.ServerManager ServerManager => null;
        public Transporting.TransportManager TransportManager => null;
    }
}

namespace FishNet.Managing.Client
{
    public class ClientManager : MonoBehaviour
    {
        public event Action<FishNet.Transporting.ClientConnectionStateArgs> OnClientConnectionState;
        public bool StartConnection(string address, ushort port) => OnClientConnectionState != null;
        public bool StopConnection() => false;
    }
}

namespace FishNet.Managing.Server
{
    public class ServerManager : MonoBehaviour
    {
        public bool StartConnection(ushort port) => false;
    }
}

namespace FishNet.Managing.Transporting
{
    public class TransportManager : MonoBehaviour { }
}

namespace FishNet.Transporting
{
    public enum LocalConnectionState
    {
        Stopped = 0,
        Starting = 1,
        Started = 2,
        Stopping = 3,
    }

    public struct ClientConnectionStateArgs
    {
        public LocalConnectionState ConnectionState;
    }
}

namespace LiteNetLib.Utils
{
    public class NetDataWriter
    {
        public void Put(string text) { }
    }
}

namespace LiteNetLib
{
    public class NetPeer { }

    public struct DisconnectInfo
    {
        public DisconnectReason Reason;
    }

    public enum DisconnectReason
    {
        ConnectionFailed,
        Timeout,
        HostUnreachable,
        NetworkUnreachable,
        RemoteConnectionClose,
        DisconnectPeerCalled,
        ConnectionRejected,
    }

    public class EventBasedNetListener
    {
        public event Action<NetPeer, DisconnectInfo> PeerDisconnectedEvent;
        public event Action<NetPeer> PeerConnectedEvent;
        public bool IsUsed => PeerDisconnectedEvent != null && PeerConnectedEvent != null;
    }

    public class NetManager
    {
        public NetManager(EventBasedNetListener listener) { }
        public bool IsRunning => false;
        public bool Start() => true;
        public NetPeer Connect(string address, int port, string key) => null;
        public void PollEvents() { }
        public void Stop() { }
    }
}
