"""Images on a disk to batches on a device."""

# How a set may be damaged on purpose, in the order in which it is done, see `data.corruption`.
CORRUPTIONS = {
    "dominating": "of all classes but the largest this share of the images is left out",
    "duplicates": "this share of the images is replaced by the image before",
    "noise": "this share of the images is replaced by noise, uniform in every value",
    "labels": "this share of the images gets another class, any with the same probability",
    "jpeg": "all images are compressed as JPEG of this quality, from 1 to 95",
}
