"""What disks, editors and programs do to a file, as a strategy of hypothesis."""

from hypothesis import strategies as st

FRAGMENTS = (b"\n", b"\r\n", b"\x00", b"\xff", b"null", b"1e999", b'"', b"{}", b"[]", b"\\", b"\xef\xbb\xbf", b"[[1]]")


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """`content` after one accident: a part flipped, lost, replaced or copied, or lines lost, doubled or moved."""
    if draw(st.booleans()):
        lines = content.splitlines(keepends=True)
        return b"".join(draw(st.lists(st.sampled_from(lines), max_size=len(lines) + 1)))
    start = draw(st.integers(0, len(content) - 1))
    end = draw(st.sampled_from((start, start + 1, start + 1, start + 9, len(content))))
    flipped = bytes([content[start] ^ 1 << draw(st.integers(0, 7))])
    copied = content[draw(st.integers(0, len(content))) :][: draw(st.integers(0, 60))]
    new = draw(st.one_of(st.just(b""), st.just(flipped), st.just(copied), st.sampled_from(FRAGMENTS)))
    return content[:start] + new + content[end:]
