"""What the page of results says around its tables."""

HEAD = """\
# Results

This page is written by `make docs` from the committed tables. *Scaled-down* means: smaller data, denoisers and sample
sets than the paper's, and other features than FID's. Intervals are 95 %, for one denoiser and one draw of the labels.
The paper's own numbers stand in [`config/published.csv`](../config/published.csv) and, as rows of kind `published`, in
the CSV files. How to compute all of it again: [reproducibility.md](reproducibility.md)."""

CLAIMS = """\
A claim holds on a row of a table if its 95 % interval is apart from that of what it is compared with, on the expected
side; where they overlap, the row is level, and the claim does not hold there. Row by row, with values, intervals, n,
judges, commands and the cells they come from: [`claims.csv`](../results/tables/claims.csv), computed from
[`config/claims.yaml`](../config/claims.yaml) and the tables."""

ATTRIBUTES = """\
The frame is blue where an independent judge finds the wanted class, orange where it does not. `naive` is real images of
all classes, `unguided` the denoiser alone, `ddim_i` a classifier of the same 100 labels in image space that rejects
unguided samples. `exact` is the paper's estimator; `readout` reads the class off the pass that predicts the noise;
`steering` adds the difference of the classes' mean activations, without a gradient. Forward passes are those of the
denoiser that a sample costs, counted in FLOPs, with the rejected ones of `ddim_i`.
Each row's floors are the distances of as many held-out real images of the class. The share of `real` images is the
judge's own, a ceiling. Frechet distances fall with n: compare only equal n. Kernel distances do not: 0 means none found.
A note marks a row of fewer images than asked for, and one whose judge is right on less than 80 % of real images, with and
without the attribute counting alike."""

EXTRACTORS = """\
### By other networks, and with less grain

One distance is one network's view. `lowpass` says by how many pixels a Gaussian smoothed all images first, real ones too:
such a distance sees less of the grain, and less of fine detail."""

REFINED = """\
### The cartoons by a refined denoiser

The shipped denoiser, trained on for 120,000 images with more weight on low noise levels (`config/refined.yaml`), and
lambda as it was chosen for the shipped one. `semantic` is a network that learned to name what the generator drew: it sees
little of the grain."""

NEIGHBOURS = """\
### Precision, recall, density, coverage

What one distance adds up, apart: the share of samples near a real image (precision), how many real images they are near
to (density), and the share of real images near a sample (recall by the samples' own neighbourhoods, coverage by the real
ones'). `real` is as many held-out real images of the class: coverage and recall depend on the number of images, and all on
the reference, so compare with that row. Each row's interval, by a jackknife over groups of samples, stands in the CSV file."""

SHARES = """\
### Wanted shares

Every distance to a class is also one of class priors. `distribution` asks for a share of every work unit of samples, half
of them: the samples that its head finds nearest to the attribute are guided towards it, the others away. Both references
are the same for both rows."""

LABELS = """\
### Fewer labels, and more

Heads of fewer and of more labelled images, each of several draws from one pool, steer by the table's lambda, which was
chosen for its number of labels. Draws of many share images, since the pool is finite."""

LATENTS = """\
### Models whose latent is learnt

`diffae`, `d2c` and `hierarchical_vae` (NVAE-style) as they are before any label, all of one budget. What was tried for
the last one: with the evidence bound alone its samples are noise, since the finer latents hold what cannot be drawn; its
divergence has a weight instead, which costs sharpness."""

LATENTS_OF = "The same models on {}, before any label:"

FACES = """\
### Real faces, 32 x 32

The paper's own rows, on few pixels and from a denoiser that saw little: compare the methods with each other, not with
the paper. The photographs are non-commercial research data; only numbers leave them."""

MASKS = """\
mIoU is the agreement of the wanted mask with the one that an independent segmenter, trained on other images, finds on
the sample. Diversity is the mean distance between features of two samples of one mask; the kernel distance is to real
images without these masks, its floor that of the real images of these masks. `clean_image` is guidance by a network that
saw the same pairs as clean images, `controlnet` a trainable copy of the encoder that learned from them. `released` has the
released recipe's label, upsampling, head training, steps, eta, clipping and lambda, with our denoiser, taps and image size
(lambda weighs a mean over fewer pixels) and a rate that decays; `label_500` shares its feature label, upsampling, eta and
interval, `label_100` differs in label, upsampling, sampling and lambda. The judge and the guide of `clean_image` are networks of
one architecture, not of one training, which may flatter it."""

OPINIONS = """\
What a stronger guide does in the sweep, where its own opinion and an independent one may part. As far as the first rises
more than the second, samples please the guide alone:"""

NOISE = """\
### What guides see in noise

Guides see no finished image: `exact` and `clean_image` read the denoiser's one-pass estimate of it, `readout` the
activations of that pass. Here they read real images that they have not seen, and the estimates from the same images with
noise, and their masks are compared with the true ones: no sample is drawn, and no guide is asked about its own work.
`judge` is the independent segmenter on the same estimates: what they still show to a network of many labels."""

FACE_MASKS = """\
### Real faces, 64 x 64, 19 parts

A small measurement: few masks, a denoiser that saw little, and a segmenter that finds few of the parts on real faces."""

LATENT_MASKS = """\
### A latent diffusion with a prompt

The cartoons from latents of 16 x 16 x 4, in Stable Diffusion's layout, held at one prompt with classifier-free guidance
and steered from 30 pairs; `controlnet` is diffusers' own, trained on the same pairs. Heads compare masks where the finest
tap is, at 16 x 16, all of them brought there by nearest. One forward pass is both passes of classifier-free guidance."""

CLASSES = """\
Rows are the classifier and its training; columns how many generated images stand beside each real one. Three controls
that the paper lacks: real images alone for as many updates, the first samples drawn whatever the filter says, and
generated images alone. The spread is over seeds of the classifier: the generator and the real images are one draw."""

OBJECTS = """\
### Photographs of objects

Classes of Tiny-ImageNet, the paper's kind of images, by a small denoiser. All cells have as many updates: real images
alone are the control of updates. The photographs are non-commercial research data; only numbers leave them."""

FILTERS = """\
### Where a filter reads

Filters that read the denoiser elsewhere, trained on the same few images, asked about real images and about every sample
that was drawn, until the configured filter had kept enough of each class. What a filter is worth is what the independent
judge says of the samples that it keeps: at the same share kept, the higher the better. That judge reports on the
configured filter, too: choose a filter by its accuracy on real images, not by the judge."""
