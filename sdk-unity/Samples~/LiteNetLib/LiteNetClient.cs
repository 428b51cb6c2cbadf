// LiteNetLib by itself (token mode "claim"). Copy it into the project, beside LiteNetLib.

using System;
using LiteNetLib;
using Muster;
using Muster.Unity;
using UnityEngine;

/// <summary>Connects LiteNetLib to the seat of a MusterClient, and brings it back.</summary>
[RequireComponent(typeof(MusterClient))]
public sealed class LiteNetClient : MonoBehaviour
{
    private const int MaxRejoins = 5;

    [SerializeField]
    private string player = "ann";

    [SerializeField, Tooltip("The fleet's name for the port; it says token = \"claim\"")]
    private string portName = "game-udp";

    private readonly EventBasedNetListener _listener = new EventBasedNetListener();
    private NetManager _net;
    private int _rejoins;

    private async void Start()
    {
        _net = new NetManager(_listener);
        _listener.PeerConnectedEvent += peer => _rejoins = 0;
        _listener.PeerDisconnectedEvent += (peer, why) => Rejoin(why.Reason);
        try
        {
            await GetComponent<MusterClient>().FindMatchAsync(player);
            Connect(await GetComponent<MusterClient>().ClaimAsync(portName));
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
        }
    }

    // The session token is the connection request's key: the server shows it to GameServer.ConnectedByTokenAsync before it
    // accepts the request.
    private void Connect(Endpoint endpoint)
    {
        if (!_net.IsRunning) _net.Start();
        _net.Connect(endpoint.Host, endpoint.Port, endpoint.Token ?? string.Empty);
    }

    private async void Rejoin(DisconnectReason why)
    {
        // The server has turned the player away, or this side has left.
        if (why == DisconnectReason.ConnectionRejected || why == DisconnectReason.DisconnectPeerCalled) return;
        if (++_rejoins > MaxRejoins) return;
        try
        {
            await GetComponent<MusterClient>().Ticket.RefreshAsync();
            Connect(await GetComponent<MusterClient>().ClaimAsync(portName));
        }
        catch (MusterException error)
        {
            Debug.LogError($"{error.Code}: {error.Message}");
        }
    }

    private void Update() => _net?.PollEvents();

    private void OnDestroy() => _net?.Stop();
}
