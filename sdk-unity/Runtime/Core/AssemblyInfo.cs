// Who may see the core's inner parts: its tests, and the conformance driver, which breaks connections on purpose.

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Muster.Core.Tests")]
[assembly: InternalsVisibleTo("Muster.Driver")]
