// What the class library's exceptions mean for a developer. Each platform wraps them differently (HttpRequestException,
// WebException, IOException, AuthenticationException around each other), so the whole chain is looked at.

using System;
using System.IO;
using System.Net;
using System.Net.Sockets;
using System.Security.Authentication;

namespace Muster.Net
{
    internal static class NetFailures
    {
        // Chains of causes are short; one that is not is a loop.
        private const int MaxCauses = 16;

        internal static MusterException Explain(string what, Exception error, string refusedCertificate)
        {
            var cause = error;
            for (var depth = 0; cause != null && depth < MaxCauses; depth++, cause = cause.InnerException)
            {
                if (cause is AuthenticationException || cause is WebException web &&
                    web.Status == WebExceptionStatus.TrustFailure) return Untrusted(what, refusedCertificate, error);
                if (cause is SocketException socket) return OfSocket(what, socket, error);
                if (cause is WebException failed)
                {
                    switch (failed.Status)
                    {
                        case WebExceptionStatus.NameResolutionFailure: return NoSuchHost(what, error);
                        case WebExceptionStatus.SecureChannelFailure: return Untrusted(what, refusedCertificate, error);
                        case WebExceptionStatus.ServerProtocolViolation:
                            return BadAnswer(what, "it is no HTTP", error);
                    }
                }
            }
            return Lost(what, Innermost(error).Message, error);
        }

        internal static MusterException Untrusted(string what, string why, Exception inner) => new MusterException(
            MusterCodes.TlsUntrusted,
            $"{what}: the certificate is not trusted{(why == null ? string.Empty : ": " + why)}. If Muster's own CA signed " +
            "it, give that CA (GET /v1/ca.pem); check that the URL has the name in the certificate, that the port speaks " +
            "TLS, and that this machine's clock is right.", inner);

        internal static MusterException Lost(string what, string why, Exception inner) => new MusterException(
            MusterCodes.ConnectionLost,
            $"{what}: the connection ended too early ({why.TrimEnd('.')}). If a process of Muster was restarted, try again.",
            inner);

        internal static MusterException BadAnswer(string what, string why, Exception inner = null) => new MusterException(
            MusterCodes.BadAnswer,
            $"{what}: the answer is not what Muster gives: {why}. Check that the URL is an orchestrator's, and that its " +
            "version fits this SDK's.", inner);

        internal static MusterException OfSocket(string what, SocketException socket, Exception error)
        {
            switch (socket.SocketErrorCode)
            {
                case SocketError.HostNotFound:
                case SocketError.NoData:
                case SocketError.TryAgain:
                case SocketError.NoRecovery:
                    return NoSuchHost(what, error);
                case SocketError.TimedOut:
                    return Deadline.TimedOut(what);
                case SocketError.ConnectionReset:
                case SocketError.ConnectionAborted:
                case SocketError.OperationAborted:
                case SocketError.Shutdown:
                    return Lost(what, socket.Message, error);
                default:
                    return new MusterException(
                        MusterCodes.Unreachable,
                        $"{what}: nobody is there ({socket.Message.TrimEnd('.')}). Check that it runs and that the address is right.",
                        error);
            }
        }

        private static MusterException NoSuchHost(string what, Exception error) => new MusterException(
            MusterCodes.Unreachable,
            $"{what}: there is no such host. Check the name in the URL and this machine's network.", error);

        private static Exception Innermost(Exception error)
        {
            for (var depth = 0; error.InnerException != null && depth < MaxCauses; depth++) error = error.InnerException;
            return error;
        }
    }
}
