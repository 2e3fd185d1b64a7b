// A scan as an int16 texture on the graphics card: slices and slabs of any plane, windowed while drawing.

import {
  Data3DTexture,
  GLSL3,
  Mesh,
  NearestFilter,
  OrthographicCamera,
  PlaneGeometry,
  RawShaderMaterial,
  RedIntegerFormat,
  Scene,
  ShortType,
  Vector2,
  Vector3,
  WebGLRenderer,
} from "three";

const VERTEX = `
in vec3 position;
void main() { gl_Position = vec4(position.xy, 0.0, 1.0); }
`;

// Integer textures are not interpolated by the card, so the four neighbors in the plane are mixed here.
const FRAGMENT = `
precision highp float;
precision highp int;
precision highp isampler3D;
uniform isampler3D volume;
uniform vec3 size;        // of the texture
uniform vec3 start;       // of the texture in the stored volume, in voxels
uniform float stride;     // stored voxels per voxel of the texture
uniform vec3 shape;       // of the stored volume
uniform vec3 spacing;     // mm
uniform int plane;        // 0 axial, 1 coronal, 2 sagittal
uniform int first;
uniform int last;
uniform vec2 corner;      // mm at the upper left of the canvas
uniform float mmPerPixel;
uniform float height;
uniform float low;
uniform float high;
out vec4 color;

vec3 indexAt(vec2 mm, float k) {
  float head = shape.z - 1.0 - mm.y / spacing.z;
  if (plane == 0) return vec3(mm / spacing.xy, k);
  if (plane == 1) return vec3(mm.x / spacing.x, k, head);
  return vec3(k, mm.x / spacing.y, head);
}

float fetch(vec3 at) {
  return float(texelFetch(volume, ivec3(clamp(at, vec3(0.0), size - 1.0)), 0).r);
}

float sampleAt(vec3 at) {
  vec3 base = floor(at);
  vec3 part = at - base;
  vec3 right = plane == 2 ? vec3(0.0, 1.0, 0.0) : vec3(1.0, 0.0, 0.0);
  vec3 down = plane == 0 ? vec3(0.0, 1.0, 0.0) : vec3(0.0, 0.0, 1.0);
  vec3 normal = vec3(1.0) - right - down;
  base += normal * step(0.5, part);
  float across = dot(part, right);
  float along = dot(part, down);
  return mix(
    mix(fetch(base), fetch(base + right), across),
    mix(fetch(base + down), fetch(base + down + right), across),
    along);
}

void main() {
  vec2 pixel = vec2(gl_FragCoord.x, height - gl_FragCoord.y);
  vec2 mm = corner + pixel * mmPerPixel;
  float best = -40000.0;
  int hop = max(1, int(stride));
  for (int k = first; k <= last; k += hop) {
    vec3 at = (indexAt(mm, float(k)) - start) / stride;
    if (all(greaterThanEqual(at, vec3(-0.5))) && all(lessThanEqual(at, size - 0.5))) best = max(best, sampleAt(at));
  }
  color = vec4(vec3(clamp((best - low) / (high - low), 0.0, 1.0)), 1.0);
}
`;

const PLANES = { axial: 0, coronal: 1, sagittal: 2 };

export class VolumeView {
  constructor(canvas) {
    this.renderer = new WebGLRenderer({ canvas, antialias: false, alpha: false, depth: false });
    this.camera = new OrthographicCamera();
    this.scene = new Scene();
    const names = ["volume", "size", "start", "stride", "shape", "spacing", "plane", "first", "last"];
    names.push("corner", "mmPerPixel", "height", "low", "high");
    this.material = new RawShaderMaterial({
      glslVersion: GLSL3,
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      uniforms: Object.fromEntries(names.map((name) => [name, { value: null }])),
      depthTest: false,
      depthWrite: false,
    });
    this.mesh = new Mesh(new PlaneGeometry(2, 2), this.material);
    this.mesh.frustumCulled = false;
    this.scene.add(this.mesh);
    this.isReady = false;
  }

  // Voxels of a box of the stored volume, x fastest; takes the place of a coarser one.
  setVolume(voxels, box) {
    const [nz, ny, nx] = box.shape_zyx;
    const texture = new Data3DTexture(voxels, nx, ny, nz);
    texture.format = RedIntegerFormat;
    texture.type = ShortType;
    texture.internalFormat = "R16I";
    texture.minFilter = texture.magFilter = NearestFilter;
    // Rows of an odd number of voxels are not padded to four bytes.
    texture.unpackAlignment = 2;
    texture.needsUpdate = true;
    const { uniforms } = this.material;
    uniforms.volume.value?.dispose();
    uniforms.volume.value = texture;
    uniforms.size.value = new Vector3(nx, ny, nz);
    uniforms.start.value = new Vector3(...box.start_zyx.toReversed());
    uniforms.stride.value = box.step;
    this.isReady = true;
  }

  // The memory of the card is freed at once, and not when the browser finds time.
  dispose() {
    this.isReady = false;
    this.material.uniforms.volume.value?.dispose();
    this.material.dispose();
    this.mesh.geometry.dispose();
    this.renderer.dispose();
    this.renderer.forceContextLoss();
  }

  draw(view) {
    const { uniforms } = this.material;
    uniforms.shape.value = new Vector3(...view.shape.toReversed());
    uniforms.spacing.value = new Vector3(...view.spacing.toReversed());
    uniforms.plane.value = PLANES[view.plane];
    const first = view.slice - Math.floor((view.nSlices - 1) / 2);
    uniforms.first.value = first;
    uniforms.last.value = first + view.nSlices - 1;
    uniforms.corner.value = new Vector2(...view.corner);
    uniforms.mmPerPixel.value = view.mmPerPixel / view.ratio;
    uniforms.height.value = Math.round(view.height * view.ratio);
    uniforms.low.value = view.low;
    uniforms.high.value = view.high;
    const size = this.renderer.getSize(new Vector2());
    if (size.x !== view.width || size.y !== view.height || this.renderer.getPixelRatio() !== view.ratio) {
      this.renderer.setPixelRatio(view.ratio);
      this.renderer.setSize(view.width, view.height, false);
    }
    this.renderer.render(this.scene, this.camera);
  }
}
