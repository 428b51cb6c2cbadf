// Mirror on its KCP transport (token mode "claim"), and in a browser on its WebSocket transport, whose URL carries the
// token. The seat's session token is shown once more inside Mirror, by the authenticator below, so that the server knows who
// is who. Copy it into the project: Mirror is no UPM package that an assembly could depend on.

using System;
using System.Collections.Generic;
using System.Threading.Tasks;
using Mirror;
using Muster;
using Muster.Unity;
using UnityEngine;

/// <summary>What a client shows the server.</summary>
public struct SeatMessage : NetworkMessage
{
    /// <summary>Session token.</summary>
    public string Token;
}

/// <summary>What the server says to it.</summary>
public struct SeatAnswer : NetworkMessage
{
    /// <summary>Whether the player may stay.</summary>
    public bool IsAdmitted;
}

/// <summary>Joins Mirror to Muster, on both sides. Set as the NetworkManager's authenticator, beside MusterClient and
/// MusterServer.</summary>
public sealed class MusterMirror : NetworkAuthenticator
{
    private const int MaxRejoins = 5;

    [SerializeField, Tooltip("The fleet's name for the port; of a browser's build, that of the WebSocket port")]
    private string portName = "game-udp";

    private readonly Dictionary<int, VerifiedSeat> _seats = new Dictionary<int, VerifiedSeat>();
    private string _token = string.Empty;

    /// <summary>Finds a match and connects to its server.</summary>
    public async Task PlayAsync(string player)
    {
        await GetComponent<MusterClient>().FindMatchAsync(player);
        await ConnectAsync();
    }

    /// <summary>Connects to the seat that was found. Again after a lost connection: call it from OnClientDisconnect.</summary>
    public async Task ConnectAsync()
    {
        var muster = GetComponent<MusterClient>();
        for (var tries = 1; ; tries++)
        {
            try
            {
                await muster.Ticket.RefreshAsync();
#if UNITY_WEBGL && !UNITY_EDITOR
                var endpoint = FindWeb(muster.Ticket.Current.Assignment);
                _token = endpoint.Token ?? string.Empty;
                NetworkManager.singleton.StartClient(new Uri(endpoint.Url));
#else
                var endpoint = await muster.ClaimAsync(portName);
                _token = endpoint.Token ?? string.Empty;
                NetworkManager.singleton.StartClient(new Uri($"kcp://{endpoint.Host}:{endpoint.Port}"));
#endif
                return;
            }
            catch (MusterException error) when (error.IsTransient && tries < MaxRejoins)
            {
                Debug.LogWarning($"Muster: {error.Message}");
            }
        }
    }

    /// <summary>Listens on Muster's port, and says that players can come.</summary>
    public async Task ServeAsync(ushort fallbackPort = 7777)
    {
        var muster = GetComponent<MusterServer>();
        var transport = NetworkManager.singleton.transport as PortTransport;
        if (transport != null) transport.Port = (ushort)muster.Port(portName, fallbackPort);
        NetworkManager.singleton.StartServer();
        await muster.ReadyAsync();
    }

    /// <summary>The player of this connection has dropped out: call it from OnServerDisconnect.</summary>
    public async Task LeftAsync(NetworkConnectionToClient client)
    {
        var seat = SeatOf(client);
        if (seat == null) return;
        _seats.Remove(client.connectionId);
        foreach (var other in _seats.Values)
            if (other.SeatId == seat.SeatId) return;
        await GetComponent<MusterServer>().DisconnectedAsync(seat.SeatId);
    }

    /// <summary>Who sits behind a connection; null outside of Muster.</summary>
    public VerifiedSeat SeatOf(NetworkConnectionToClient client) =>
        _seats.ContainsKey(client.connectionId) ? _seats[client.connectionId] : null;

    /// <inheritdoc/>
    public override void OnStartServer() => NetworkServer.RegisterHandler<SeatMessage>(OnSeat, false);

    /// <inheritdoc/>
    public override void OnStartClient() => NetworkClient.RegisterHandler<SeatAnswer>(OnAnswer, false);

    /// <inheritdoc/>
    public override void OnClientAuthenticate() => NetworkClient.Send(new SeatMessage { Token = _token });

    private async void OnSeat(NetworkConnectionToClient client, SeatMessage message)
    {
        var muster = GetComponent<MusterServer>();
        var seat = await muster.AdmitAsync(message.Token);
        var isAdmitted = seat != null || !muster.UnderMuster;
        client.Send(new SeatAnswer { IsAdmitted = isAdmitted });
        if (!isAdmitted)
        {
            ServerReject(client);
            return;
        }
        if (seat != null) _seats[client.connectionId] = seat;
        ServerAccept(client);
    }

    private void OnAnswer(SeatAnswer answer)
    {
        if (answer.IsAdmitted) ClientAccept();
        else ClientReject();
    }

    internal static Endpoint FindWeb(Assignment assignment)
    {
        foreach (var endpoint in assignment.Endpoints)
            if (endpoint.Transport == Muster.Transport.WebSocket) return endpoint;
        throw new MusterException(MusterCodes.NoEndpoint, "The fleet has no port of protocol ws, which a browser needs.");
    }
}
