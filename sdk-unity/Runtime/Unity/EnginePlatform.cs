// Which platform the core runs on: in a browser the one of this directory, everywhere else the core's own.

using Muster.Net;

namespace Muster.Unity
{
    /// <summary>Chooses what the core runs on.</summary>
    public static class EnginePlatform
    {
        /// <summary>The platform of this build; <c>null</c> stands for the core's own, with sockets.</summary>
        public static IPlatform ForThisBuild()
        {
#if UNITY_WEBGL && !UNITY_EDITOR
            return WebPlatform.Instance;
#else
            return null;
#endif
        }
    }
}
