// What each call of the conformance protocol does with the SDK.

using System;
using System.Collections.Generic;
using System.Text;
using System.Threading.Tasks;
using Muster.Json;
using Muster.Wire;

namespace Muster.Driver
{
    internal sealed class Calls
    {
        private readonly Action<JsonValue> _tell;
        private readonly object _lock = new object();
        private readonly Dictionary<string, MusterApi> _clients = new Dictionary<string, MusterApi>();
        private readonly Dictionary<string, MatchTicket> _matches = new Dictionary<string, MatchTicket>();
        private readonly Dictionary<string, GameSession> _sessions = new Dictionary<string, GameSession>();
        private readonly Dictionary<string, GameServer> _servers = new Dictionary<string, GameServer>();

        internal Calls(Action<JsonValue> tell)
        {
            _tell = tell;
        }

        internal void CloseAll()
        {
            lock (_lock)
            {
                foreach (var session in _sessions.Values) session.Dispose();
                foreach (var server in _servers.Values) server.Dispose();
                foreach (var client in _clients.Values) client.Dispose();
            }
        }

        internal static JsonValue Describe(Exception error)
        {
            var known = error as MusterException;
            var described = JsonValue.NewObject()
                .Set("code", JsonValue.Of(known?.Code ?? "driver_fault"))
                .Set("message", JsonValue.Of(known?.Message ?? error.ToString()));
            if (known?.RetryAfterSeconds != null)
                described.Set("retry_after_s", JsonValue.Of(known.RetryAfterSeconds.Value));
            return described;
        }

        internal async Task<JsonValue> Do(JsonValue request)
        {
            var timeout = TimeSpan.FromMilliseconds(request["timeout_ms"].AsLong(10000));
            var call = request["call"].AsText();
            if (call == "hello") return Hello();
            if (call.StartsWith("vector.")) return Vector(call, request);
            if (call.StartsWith("match.")) return await Match(call, request, timeout);
            if (call.StartsWith("lobby.") || call == "server.join") return await Lobby(call, request, timeout);
            if (call.StartsWith("session.")) return await Session(call, request, timeout);
            if (call.StartsWith("server.")) return await Server(call, request, timeout);
            switch (call)
            {
                case "client.open": return Open(request);
                case "client.close":
                    Of(_clients, request, "client").Dispose();
                    return JsonValue.NewObject();
                case "regions":
                    var regions = JsonValue.NewList();
                    foreach (var region in await Of(_clients, request, "client").RegionsAsync(timeout))
                        regions.Add(region.Json);
                    return JsonValue.NewObject().Set("regions", regions);
                case "measure":
                    var latencies = JsonValue.NewObject();
                    foreach (var pair in await Of(_clients, request, "client").MeasureAsync(timeout))
                        latencies.Set(pair.Key, JsonValue.Of(pair.Value));
                    return JsonValue.NewObject().Set("latencies_ms", latencies);
                case "connect": return await Connect(request, timeout);
                default: throw new MusterException(MusterCodes.Unsupported, $"This driver has no call \"{call}\".");
            }
        }

        private static JsonValue Hello() => JsonValue.NewObject()
            .Set("sdk", JsonValue.Of("unity"))
            .Set("version", JsonValue.Of("0.1.0"))
            .Set("protocol", JsonValue.Of(1))
            .Set("features", JsonValue.Of(new[] { "udp", "tcp", "ws", "ws_status", "claim", "lobbies", "accept", "server", "ca" }));

        private JsonValue Open(JsonValue request)
        {
            Keep(_clients, request, "client", new MusterApi(new MusterOptions
            {
                Url = request["url"].AsText(),
                Token = request["token"].AsText(null),
                Namespace = request["namespace"].AsText(null),
                CaPem = request["ca_pem"].AsText(null),
            }));
            return JsonValue.NewObject();
        }

        private async Task<JsonValue> Match(string call, JsonValue request, TimeSpan timeout)
        {
            if (call == "match.find")
            {
                var asked = request["request"];
                var find = new MatchRequest(asked["queue"].AsText(), asked["player"].AsText()) { Extra = asked };
                var latencies = new Dictionary<string, int>();
                foreach (var pair in asked["latencies_ms"].Members) latencies[pair.Key] = pair.Value.AsInt();
                find.LatenciesMs = latencies;
                return Made(request, await Of(_clients, request, "client").FindMatchAsync(find, timeout));
            }
            var match = Of(_matches, request, "match");
            switch (call)
            {
                case "match.wait":
                    await match.WaitAsync(timeout);
                    return JsonValue.NewObject().Set("ticket", match.Current.Json);
                case "match.read":
                    return JsonValue.NewObject().Set("ticket", (await match.RefreshAsync(timeout)).Json);
                case "match.cancel":
                    await match.CancelAsync(timeout);
                    return JsonValue.NewObject();
                case "match.accept":
                    await match.AcceptAsync(timeout);
                    return JsonValue.NewObject();
                case "match.decline":
                    await match.DeclineAsync(timeout);
                    return JsonValue.NewObject();
                case "match.explain":
                    return JsonValue.NewObject().Set("words", JsonValue.Of(await match.ExplainAsync(timeout)));
                default: throw new MusterException(MusterCodes.Unsupported, $"This driver has no call \"{call}\".");
            }
        }

        private async Task<JsonValue> Lobby(string call, JsonValue request, TimeSpan timeout)
        {
            var client = Of(_clients, request, "client");
            var asked = request["request"];
            var player = asked["player"].AsText();
            switch (call)
            {
                case "lobby.create":
                    var create = new CreateLobbyRequest(asked["fleet"].AsText(), player) { Extra = asked };
                    return Made(request, await client.CreateLobbyAsync(create, timeout));
                case "lobby.find":
                    var find = new FindLobbyRequest(asked["fleet"].AsText(), player) { Extra = asked };
                    return Made(request, await client.FindLobbyAsync(find, timeout));
                case "lobby.join":
                    var join = new JoinRequest(player) { Extra = asked };
                    return Made(request, await client.JoinLobbyAsync(request["lobby"].AsText(), join, timeout));
                case "server.join":
                    var direct = new JoinRequest(player) { Extra = asked };
                    return Made(request, await client.JoinServerAsync(request["server_id"].AsText(), direct, timeout));
                case "lobby.read":
                    var lobby = await client.GetLobbyAsync(request["lobby"].AsText(), timeout);
                    return JsonValue.NewObject().Set("lobby", lobby.Json);
                case "lobby.list":
                    var filter = new LobbyFilter(request["fleet"].AsText()) { OnlyOpen = request["open"].AsBool() };
                    foreach (var tag in request["tags"].AsTextMap()) filter.Tags[tag.Key] = tag.Value;
                    var lobbies = JsonValue.NewList();
                    foreach (var found in await client.ListLobbiesAsync(filter, timeout)) lobbies.Add(found.Json);
                    return JsonValue.NewObject().Set("lobbies", lobbies);
                default: throw new MusterException(MusterCodes.Unsupported, $"This driver has no call \"{call}\".");
            }
        }

        private JsonValue Made(JsonValue request, MatchTicket ticket)
        {
            Keep(_matches, request, "match", ticket);
            var name = request["match"].AsText();
            ticket.Progressed += now => _tell(JsonValue.NewObject()
                .Set("event", JsonValue.Of("progress"))
                .Set("match", JsonValue.Of(name))
                .Set("state", now.Json["state"])
                .Set("explanation", JsonValue.Of(now.Explanation)));
            return JsonValue.NewObject().Set("ticket", ticket.Current.Json);
        }

        private async Task<JsonValue> Connect(JsonValue request, TimeSpan timeout)
        {
            var options = new ConnectOptions { PortName = request["port"].AsText(null), SendsText = true };
            switch (request["transport"].AsText())
            {
                case "udp":
                    options.Transport = Transport.Udp;
                    break;
                case "tcp":
                    options.Transport = Transport.Tcp;
                    break;
                case "ws":
                    options.Transport = Transport.WebSocket;
                    break;
            }
            var session = await Of(_matches, request, "match").ConnectAsync(options, timeout);
            Keep(_sessions, request, "session", session);
            var name = request["session"].AsText();
            session.Lost += why => Tell(name, "lost", why);
            session.Rejoined += () => Tell(name, "rejoined", null);
            session.Failed += why => Tell(name, "failed", why);
            var transport = session.Transport == Transport.WebSocket ? "ws"
                : session.Transport.ToString().ToLowerInvariant();
            return JsonValue.NewObject()
                .Set("transport", JsonValue.Of(transport))
                .Set("seat_id", JsonValue.Of(session.SeatId));
        }

        private void Tell(string session, string state, MusterException why) => _tell(JsonValue.NewObject()
            .Set("event", JsonValue.Of("session"))
            .Set("session", JsonValue.Of(session))
            .Set("state", JsonValue.Of(state))
            .Set("error", why == null ? null : Describe(why)));

        private async Task<JsonValue> Session(string call, JsonValue request, TimeSpan timeout)
        {
            var session = Of(_sessions, request, "session");
            switch (call)
            {
                case "session.send":
                    await session.SendAsync(request["text"].AsText());
                    return JsonValue.NewObject();
                case "session.receive":
                    var message = await session.ReceiveAsync(timeout);
                    return JsonValue.NewObject().Set("text", JsonValue.Of(Encoding.UTF8.GetString(message)));
                case "session.break":
                    session.Reconnect();
                    return JsonValue.NewObject();
                case "session.close":
                    await session.CloseAsync();
                    return JsonValue.NewObject();
                default: throw new MusterException(MusterCodes.Unsupported, $"This driver has no call \"{call}\".");
            }
        }

        private async Task<JsonValue> Server(string call, JsonValue request, TimeSpan timeout)
        {
            if (call == "server.open") return OpenServer(request);
            var server = Of(_servers, request, "server");
            string seat = request["seat"].AsText(null), token = request["token"].AsText(null);
            switch (call)
            {
                case "server.ready":
                    await server.ReadyAsync(timeout);
                    break;
                case "server.shutdown":
                    await server.ShutdownAsync(timeout);
                    break;
                case "server.read":
                    return JsonValue.NewObject().Set("server", (await server.ReadAsync(timeout)).Json);
                case "server.connected":
                    return Told(token != null ? await server.ConnectedByTokenAsync(token, timeout)
                        : await server.ConnectedAsync(seat, timeout));
                case "server.disconnected":
                    return Told(await server.DisconnectedAsync(seat, timeout));
                case "server.released":
                    return Told(await server.ReleasedAsync(seat, timeout));
                case "server.backfill":
                    var priority = request["priority"].AsText() == "high" ? Priority.High
                        : request["priority"].AsText() == "low" ? Priority.Low : Priority.Normal;
                    if (request["open"].AsBool()) await server.OpenBackfillAsync(priority, timeout);
                    else await server.CloseBackfillAsync(timeout);
                    break;
                case "server.lobby":
                    var wish = request["change"];
                    var change = new LobbyChange { Name = wish["name"].AsText(null), Config = wish["config"] };
                    if (wish["open"].Kind == JsonKind.Bool) change.IsOpen = wish["open"].AsBool();
                    if (!wish["visibility"].IsNull) change.IsPrivate = wish["visibility"].AsText() == "private";
                    if (!wish["tags"].IsNull) change.Tags = wish["tags"].AsTextMap();
                    await server.ChangeLobbyAsync(change, timeout);
                    break;
                case "server.close":
                    server.Dispose();
                    break;
                default: throw new MusterException(MusterCodes.Unsupported, $"This driver has no call \"{call}\".");
            }
            return JsonValue.NewObject();
        }

        private JsonValue OpenServer(JsonValue request)
        {
            var server = new GameServer(ServerEnvironment.Of(request["env"].AsTextMap()));
            Keep(_servers, request, "server", server);
            if (!server.UnderMuster) return JsonValue.NewObject().Set("under_muster", JsonValue.Of(false));
            var name = request["server"].AsText();
            server.StateTold += view => TellServer(name, "state", view.Json);
            server.Allocated += match => TellServer(name, "allocated", match.Json);
            server.Draining += at => TellServer(name, "draining", JsonValue.NewObject()
                .Set("deadline_ms", at.HasValue ? JsonValue.Of(at.Value) : null));
            server.Listen();
            var ports = JsonValue.NewObject();
            foreach (var port in server.Environment.Ports) ports.Set(port.Key, JsonValue.Of(port.Value));
            return JsonValue.NewObject()
                .Set("under_muster", JsonValue.Of(true))
                .Set("server_id", JsonValue.Of(server.Environment.ServerId))
                .Set("namespace", JsonValue.Of(server.Environment.Namespace))
                .Set("region", JsonValue.Of(server.Environment.Region))
                .Set("ports", ports);
        }

        private void TellServer(string server, string type, JsonValue data) => _tell(JsonValue.NewObject()
            .Set("event", JsonValue.Of("server"))
            .Set("server", JsonValue.Of(server))
            .Set("type", JsonValue.Of(type))
            .Set("data", data));

        private static JsonValue Told(VerifiedSeat seat) => JsonValue.NewObject()
            .Set("seat", JsonValue.Of(seat.SeatId)).Set("player", JsonValue.Of(seat.Player));

        private static JsonValue Vector(string call, JsonValue request)
        {
            var what = request["what"].AsText();
            var token = request["token"].AsText();
            if (call == "vector.encode")
            {
                var bytes = what == "udp_preface" ? Preface.Encode(token)
                    : what == "udp_claim" ? Preface.EncodeClaim(token)
                    : what == "tcp_preface" ? Preface.EncodeTcp(token)
                    : Beacon.Encode(Bytes(request["nonce_hex"].AsText()));
                return JsonValue.NewObject().Set("hex", JsonValue.Of(Hex(bytes)));
            }
            if (what == "session_token")
            {
                var claims = SessionToken.Read(token);
                return JsonValue.NewObject()
                    .Set("namespace", JsonValue.Of(claims.Namespace)).Set("server", JsonValue.Of(claims.Server))
                    .Set("port", JsonValue.Of(claims.Port)).Set("seat", JsonValue.Of(claims.Seat))
                    .Set("player", JsonValue.Of(claims.Player)).Set("expires_at_ms", JsonValue.Of(claims.ExpiresAtMs));
            }
            var given = Bytes(request["hex"].AsText());
            if (what == "beacon_answer")
            {
                var nonce = Beacon.Decode(given, given.Length);
                return JsonValue.NewObject().Set("nonce_hex", nonce == null ? null : JsonValue.Of(Hex(nonce)));
            }
            var answer = Preface.Decode(given, given.Length);
            var name = answer == PrefaceAnswer.None ? null
                : answer == PrefaceAnswer.Accepted ? "accepted" : Preface.Refusal(answer).Code;
            return JsonValue.NewObject().Set("answer", JsonValue.Of(name));
        }

        private static byte[] Bytes(string hex)
        {
            var bytes = new byte[hex.Length / 2];
            for (var i = 0; i < bytes.Length; i++)
                bytes[i] = Convert.ToByte(hex.Substring(2 * i, 2), 16);
            return bytes;
        }

        private static string Hex(byte[] bytes) => BitConverter.ToString(bytes).Replace("-", string.Empty).ToLowerInvariant();

        private T Of<T>(Dictionary<string, T> things, JsonValue request, string kind)
        {
            lock (_lock)
            {
                T thing;
                if (things.TryGetValue(request[kind].AsText(), out thing)) return thing;
            }
            throw new MusterException(MusterCodes.InvalidArgument, $"There is no {kind} \"{request[kind].AsText()}\".");
        }

        private void Keep<T>(Dictionary<string, T> things, JsonValue request, string kind, T thing)
        {
            lock (_lock)
            {
                T old;
                if (things.TryGetValue(request[kind].AsText(), out old)) (old as IDisposable)?.Dispose();
                things[request[kind].AsText()] = thing;
            }
        }
    }
}
