"""Mix-and-Localize's published tables. Its model is introduced in notebooks/03_mix_and_localize.ipynb."""

from avnb.papers.tables import table

title = "Mix and Localize: Localizing Sound Sources in Mixtures"
authors = ("Xixi Hu", "Ziyang Chen", "Andrew Owens")
venue = "CVPR"
year = 2022
arxiv = "2211.15058"

_TESTED_ON = {"MUSIC-Solo": "24 videos", "MUSIC-Duet": ""}  # of DSOL's 27 with boxes; duets: not stated

_EVALUATION = """
    A star marks the better of the two ways to pair maps with sources, which only this method is given; PIAP needs no
    pairing. Its own maps are cut at 0.4, the others' at their best threshold on validation; whether maps are scaled
    to 0..1 first is not stated, and no evaluation code is released.
"""

table1 = table(
    "Mix-and-Localize",
    "Table 1",
    "Localization on MUSIC: one source, synthetic scenes, duets",
    """
                               | MUSIC-Solo          | MUSIC-Synthetic              | MUSIC-Duet
                               | AP    AUC   IoU@0.5 | CAP    PIAP  AUC    CIoU@0.3 | CAP    PIAP  AUC    CIoU@0.3
    DSOL                       | -     43.6  51.4    | -      -     23.5   32.3     | -      -     22.1   30.2
    Sound-of-Pixels + matching | -     43.3  40.5    | -      -     11.8   8.1      | -      -     16.8   16.8
    OTS                        | 69.3  35.8  26.1    | 11.4   17.6  10.2   3.7      | 35.4   42.8  18.3   13.2
    OTS-mix                    | 53.8  33.9  17.5    | 16.9   27.4  7.3    0        | 23.8   28.2  12.0   2.0
    Attention10k               | -     38.7  37.2    | -      -     12.3   6.4      | -      -     19.4   21.5
    DMC                        | -     38.0  29.1    | -      -     16.3   7.0      | -      -     21.1   17.3
    Mix-and-Localize           | 67.9  40.6  29.2    | 34.0*  39.7  20.2*  21.3*    | 47.4*  53.9  21.2*  26.3*
    """,
    note=_EVALUATION
    + """
    All but OTS-mix, its own row and the AP, CAP and PIAP columns is DSOL's. Its test split holds 24 of DSOL's 27
    annotated solo videos, and it trains on both halves of DSOL's solos. DSOL and matched Sound-of-Pixels name
    clusters with labels.
    """,
    tested_on=_TESTED_ON,
)

table2 = table(
    "Mix-and-Localize",
    "Table 2",
    "Localization on VGGSound-Instruments and VoxCeleb2: one source, and two frames side by side",
    """
                     | VGGSound-Instruments | VGGSound-Instruments-Multi
                     | AP    AUC   IoU@0.3  | CAP    PIAP  AUC    CIoU@0.1
    OTS              | 47.3  24.5  25.7     | 23.2   37.6  10.8   51.1
    OTS-mix          | 37.0  20.9  24.9     | 18.1   30.7  10.8   50.7
    Mix-and-Localize | 44.7  32.1  49.6     | 21.5*  37.4  15.5*  73.1*

                     | VoxCeleb2            | VoxCeleb2-Multi
                     | AP    AUC   IoU@0.3  | CAP    PIAP  AUC    CIoU@0.1
    OTS              | 43.9  23.5  6.2      | 20.4   32.6  7.0    15.8
    OTS-mix          | 21.4  6.4   6.2      | 10.7   18.2  4.1    15.8
    Mix-and-Localize | 46.1  27.7  35.4     | 20.1*  35.4  14.2*  17.4*
    """,
    note=_EVALUATION
    + """
    The VGGSound-Instruments splits are lost and VoxCeleb2's face masks were not released. OTS and OTS-mix have the
    same IoU@0.3 (6.2) and CIoU@0.1 (15.8) on VoxCeleb2 and the same AUC (10.8) on mixtures of VGGSound-Instruments.
    """,
)

table3 = table(
    "Mix-and-Localize",
    "Table 3",
    "Ablation: other objectives on the same mixtures",
    """
                                            | MUSIC-Synthetic              | MUSIC-Duet
                                            | CAP    PIAP  AUC    CIoU@0.3 | CAP    PIAP  AUC    CIoU@0.3
    Mix-and-Localize, mixed correspondence  | 12.6   16.0  7.3    0.0      | 19.3   21.1  17.8   7.7
    Mix-and-Localize, image-sound-image     | 11.0   16.4  7.3    0.0      | 19.7   24.9  17.5   7.6
    Mix-and-Localize, permutation-invariant | 18.2*  24.4  9.1*   0.4*     | 24.0*  28.1  19.5*  12.4*
    Mix-and-Localize                        | 34.0*  39.7  20.2*  21.3*    | 47.4*  53.9  21.2*  26.3*
    """,
    note=_EVALUATION + "Random maps on DSOL's duet boxes have CAP 15.7 and PIAP 21.1. No code for the variants.",
    tested_on=_TESTED_ON,
)
