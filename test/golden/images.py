"""Golden values for image augmentation, resizing and decoding, computed by Pillow; written by the safetensors package.

Run:       python3 test/golden/images.py [output folder]      (default: the folder of this file; a second)
Needs:     pillow, numpy, safetensors. The stored file was made with Pillow 12.3.0, NumPy 2.4.6, safetensors 0.8.0.
Repeats:   fixed seeds: the same versions give the same bytes.

images.safetensors, all U8, images planar [C, H, W]
    source.{rgb,gray}               the image that everything else is made from, [3, 21, 26] and [1, 21, 26]
    augment.{operation}.{m}.{sign}.{rgb,gray}
                                    one operation of torchvision's RandAugment at magnitude m of 30, as that library calls
                                    Pillow for it. The sign of a shear or a translation is that of Pillow's matrix, which maps
                                    the output to the input; torchvision draws it at random, so its direction does not matter.
    resize.{H}x{W}.{rgb,gray}       Pillow's BILINEAR
    file.{name}                     bytes of a PNG or JPEG file
    pixels.{name}                   its pixels: 16 bits rounded to 8, transparent pixels over black

dtypes.safetensors  {dtype} and {dtype}.float32: numbers of each dtype that NumPy has, and the same as F32
"""

import io
import os
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from safetensors.numpy import save_file

HEIGHT, WIDTH = 21, 26
random = np.random.default_rng(7)


def planar(image):
    array = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def make_source():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [120 + 90 * np.sin(x / (3 + c)) * np.cos(y / (5 - c)) + random.normal(0, 18, (HEIGHT, WIDTH)) for c in range(3)]
    return Image.fromarray(np.clip(np.stack(planes, -1), 20, 231).astype(np.uint8))


def affine(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def augment(name, image, magnitude, sign):
    level = magnitude / 30
    factor = 1 + sign * 0.9 * level
    width, height = image.size
    return {
        'identity': lambda: image,
        'shearX': lambda: affine(image, 1, sign * 0.3 * level, 0, 0, 1, 0),
        'shearY': lambda: affine(image, 1, 0, 0, sign * 0.3 * level, 1, 0),
        'translateX': lambda: affine(image, 1, 0, sign * int(150 / 331 * width * level), 0, 1, 0),
        'translateY': lambda: affine(image, 1, 0, 0, 0, 1, sign * int(150 / 331 * height * level)),
        'rotate': lambda: image.rotate(sign * 30 * level, Image.Resampling.NEAREST),
        'brightness': lambda: ImageEnhance.Brightness(image).enhance(factor),
        'color': lambda: ImageEnhance.Color(image).enhance(factor),
        'contrast': lambda: ImageEnhance.Contrast(image).enhance(factor),
        'sharpness': lambda: ImageEnhance.Sharpness(image).enhance(factor),
        'posterize': lambda: ImageOps.posterize(image, 8 - round(4 * level)),
        'solarize': lambda: ImageOps.solarize(image, 255 * (1 - level)),
        'autoContrast': lambda: ImageOps.autocontrast(image),
        'equalize': lambda: ImageOps.equalize(image),
    }[name]()


SIGNED = ['shearX', 'shearY', 'translateX', 'translateY', 'rotate', 'brightness', 'color', 'contrast', 'sharpness']
UNSIGNED = ['posterize', 'solarize']
FIXED = ['identity', 'autoContrast', 'equalize']


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return np.frombuffer(file.getvalue(), np.uint8)


def over_black(rgba):
    black = Image.new('RGBA', rgba.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, rgba).convert('RGB')


def files(rgb):
    gray = rgb.convert('L')
    ramp = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8).reshape(HEIGHT, WIDTH)
    alpha = Image.fromarray(ramp)
    palette = rgb.quantize(16)
    bits = gray.convert('1')
    deep = (np.asarray(gray).astype(np.uint16) * 257 + ramp // 3).astype(np.uint16)
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    la = gray.copy()
    la.putalpha(alpha)
    yield 'rgb.png', encoded(rgb, 'PNG'), rgb
    yield 'gray.png', encoded(gray, 'PNG'), gray
    yield 'rgba.png', encoded(rgba, 'PNG'), over_black(rgba)
    yield 'grayAlpha.png', encoded(la, 'PNG'), over_black(la.convert('RGBA')).convert('L')
    yield 'palette.png', encoded(palette, 'PNG', bits=4), palette.convert('RGB')
    yield 'paletteAlpha.png', encoded(palette, 'PNG', transparency=3), over_black(clear(palette, 3))
    yield 'colorKey.png', encoded(rgb, 'PNG', transparency=rgb.getpixel((5, 4))), over_black(key(rgb, rgb.getpixel((5, 4))))
    yield 'bits.png', encoded(bits, 'PNG'), bits.convert('L')
    yield 'deep.png', encoded(Image.fromarray(deep), 'PNG'), Image.fromarray(((deep.astype(np.uint32) + 128) // 257).astype(np.uint8))
    for name, image, options in [
        ('rgb.jpg', rgb, {'quality': 95, 'subsampling': 0}),
        ('subsampled.jpg', rgb, {'quality': 90}),
        ('progressive.jpg', rgb, {'quality': 95, 'subsampling': 0, 'progressive': True}),
        ('gray.jpg', gray, {'quality': 95}),
    ]:
        data = encoded(image, 'JPEG', **options)
        yield name, data, Image.open(io.BytesIO(data.tobytes()))


def clear(palette, index):
    rgba = palette.convert('RGBA')
    rgba.putalpha(Image.fromarray(np.where(np.asarray(palette) == index, 0, 255).astype(np.uint8)))
    return rgba


def key(rgb, color):
    rgba = rgb.convert('RGBA')
    rgba.putalpha(Image.fromarray(np.where((np.asarray(rgb) == color).all(-1), 0, 255).astype(np.uint8)))
    return rgba


def dtypes():
    values = np.array([[0, 1, 2.5], [100, -7, 0.3125]])
    out = {}
    for name in ['float64', 'float32', 'float16', 'int64', 'int32', 'int16', 'int8', 'uint64', 'uint32', 'uint16', 'uint8', 'bool']:
        array = (np.abs(values) if name.startswith('u') else values).astype(name)
        out[name], out[f'{name}.float32'] = array, array.astype(np.float32)
    out['empty'], out['empty.float32'] = np.zeros((3, 0), np.int8), np.zeros((3, 0), np.float32)
    return out


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    rgb = make_source()
    sources = {'rgb': rgb, 'gray': rgb.convert('L')}
    out = {f'source.{kind}': planar(image) for kind, image in sources.items()}
    for kind, image in sources.items():
        for magnitude in (5, 14, 30):
            for name in SIGNED:
                for sign in (1, -1):
                    out[f'augment.{name}.{magnitude}.{sign}.{kind}'] = planar(augment(name, image, magnitude, sign))
            for name in UNSIGNED:
                out[f'augment.{name}.{magnitude}.1.{kind}'] = planar(augment(name, image, magnitude, 1))
        for name in FIXED:
            out[f'augment.{name}.14.1.{kind}'] = planar(augment(name, image, 14, 1))
        for height, width in [(21, 26), (32, 32), (7, 9), (60, 13), (1, 1)]:
            out[f'resize.{height}x{width}.{kind}'] = planar(image.resize((width, height), Image.Resampling.BILINEAR))
    for name, data, image in files(rgb):
        out[f'file.{name}'] = data.copy()
        out[f'pixels.{name}'] = planar(image)
    save_file(out, os.path.join(folder, 'images.safetensors'), metadata={'madeBy': f'Pillow {Image.__version__}'})
    save_file(dtypes(), os.path.join(folder, 'dtypes.safetensors'))


if __name__ == '__main__':
    main()
