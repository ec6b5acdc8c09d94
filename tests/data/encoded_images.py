"""Images as files hold them."""

import io


def png(image):
    """A Pillow image as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
