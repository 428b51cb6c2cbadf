// The browser's WebSocket for WebPlatform.cs, by handles. Messages wait in a queue until a frame takes them.
var MusterWebSocketLibrary = {
  $musterSockets: { list: [], maxWaiting: 1024 },

  MusterSocketOpen: function (url) {
    var entry = { socket: null, waiting: [], state: 0 };
    try {
      entry.socket = new WebSocket(UTF8ToString(url));
      entry.socket.binaryType = "arraybuffer";
      entry.socket.onopen = function () { entry.state = 1; };
      entry.socket.onclose = function () { entry.state = 3; };
      entry.socket.onmessage = function (event) {
        var bytes = typeof event.data === "string" ? new TextEncoder().encode(event.data) : new Uint8Array(event.data);
        // A tab in the background takes nothing for minutes.
        if (entry.waiting.length === musterSockets.maxWaiting) { entry.socket.close(); return; }
        entry.waiting.push(bytes);
      };
    } catch (error) {
      entry.state = 3;
    }
    return musterSockets.list.push(entry) - 1;
  },

  MusterSocketState: function (handle) {
    var entry = musterSockets.list[handle];
    return entry ? entry.state : 3;
  },

  MusterSocketSend: function (handle, bytes, length, isText) {
    var entry = musterSockets.list[handle];
    if (!entry || entry.state !== 1) return 0;
    var view = HEAPU8.slice(bytes, bytes + length);
    entry.socket.send(isText ? new TextDecoder().decode(view) : view);
    return 1;
  },

  MusterSocketNext: function (handle) {
    var entry = musterSockets.list[handle];
    return entry && entry.waiting.length ? entry.waiting[0].length : -1;
  },

  MusterSocketTake: function (handle, bytes, length) {
    var entry = musterSockets.list[handle];
    if (entry && entry.waiting.length) HEAPU8.set(entry.waiting.shift().subarray(0, length), bytes);
  },

  MusterSocketClose: function (handle) {
    var entry = musterSockets.list[handle];
    if (!entry) return;
    if (entry.socket) entry.socket.close();
    musterSockets.list[handle] = null;
  }
};
autoAddDeps(MusterWebSocketLibrary, "$musterSockets");
mergeInto(LibraryManager.library, MusterWebSocketLibrary);
