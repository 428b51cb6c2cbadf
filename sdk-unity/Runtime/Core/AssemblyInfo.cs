// Who may see the core's inner parts: its tests.

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Muster.Core.Tests")]
