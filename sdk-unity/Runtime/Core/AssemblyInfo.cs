// Who may see the core's inner parts: its tests, and what the editor's window is made of.

using System.Runtime.CompilerServices;

[assembly: InternalsVisibleTo("Muster.Core.Tests")]
[assembly: InternalsVisibleTo("Muster.Editor.Core")]
